"""Recorded traffic: read from both formats, refused in words, and replayed as it was."""

import json
from math import inf

import numpy as np
import pytest

from predictor.rollout.load import Fault
from predictor.rollout.outcomes import outcome_of
from predictor.rollout.recording import BadRecording, Recording, Replayed, read_recording
from predictor.rollout.simulation import Run
from predictor.rollout.site import Site
from predictor.rollout.spec import Spec, Target

HEAD = "time,deployment,answers,errors,refused,le_0.01,le_0.02,le_0.05,le_+Inf"
BOUNDS = (0.01, 0.02, 0.05)
SPEC = Spec(inference_service="emb", target=Target(storage_uri="pvc://m/2", name="v2"))


def line(time: float, side: str = "stable", errors: int = 0, answers: int = 1500) -> str:
    upto = [int(answers * share) for share in (0.5, 0.9, 0.997, 1.0)]
    return ",".join(map(str, (time, side, answers, errors, 0, *upto)))


def as_csv(*lines: str) -> str:
    return "\n".join([HEAD, *lines, ""])


GOOD = as_csv(*(line(30.0 * n) for n in range(20)))


def as_json(text: str) -> str:
    names, *rows = [one.split(",") for one in text.split()]
    made = []
    for row in rows:
        flat = dict(zip(names, row, strict=True))
        buckets = {name[3:]: float(n) for name, n in flat.items() if name.startswith("le_")}
        rest = {name: one for name, one in flat.items() if not name.startswith("le_")}
        made.append(json.dumps({**rest, "time": float(rest["time"]), "buckets": buckets}))
    return "\n".join(made)


def test_both_formats_say_the_same() -> None:
    found = read_recording(GOOD)
    assert found == read_recording(as_json(GOOD))
    assert found.bounds == BOUNDS
    assert (len(found.intervals), found.length_s) == (20, 600.0)
    assert found.intervals[0].stable.buckets[inf] == 1500
    assert found.intervals[0].canary is None


def test_lines_in_any_order() -> None:
    lines = [line(30.0), line(0.0, "canary", 20), line(0.0), line(60.0)]
    found = read_recording(as_csv(*lines))
    assert [one.time for one in found.intervals] == [0.0, 30.0, 60.0]
    assert found.intervals[0].canary is not None
    assert found.intervals[0].canary.errors == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "two intervals of the stable version"),
        (as_csv(line(0.0)), "two intervals of the stable version"),
        (as_csv(line(0.0, "canary"), line(30.0, "canary")), "two intervals of the stable version"),
        (as_csv(line(0.0), line(0.0)), "line 3: stable at 0 is there already"),
        (as_csv(line(0.0, "blue")), "line 2: deployment must be stable or canary"),
        (as_csv(line(float("nan"))), "line 2: deployment must be stable or canary, time a number"),
        (as_csv("0,stable,many,0,0,1,1,1,1"), "line 2: could not convert string to float"),
        (as_csv("0,stable,5,0,0,4,3,5,5"), "line 2: these figures cannot be"),
        (as_csv("0,stable,5,0"), "line 2: "),
        ("time,deployment\n0,stable\n", "line 2: "),
        ('{"time": 0}\n', "line 1: KeyError 'deployment'"),
        ('{"time": 0\n', "line 1: it is no JSON"),
        (HEAD.replace("le_+Inf", "le_9") + "\n" + line(0.0), "bounds above 0 and"),
        (as_csv(line(0.0)).replace("le_0.05", "le_x"), "line 2: could not convert"),
    ],
)
def test_what_is_no_recording(text: str, words: str) -> None:
    with pytest.raises(BadRecording) as caught:
        read_recording(text)
    assert words in str(caught.value)


def test_histograms_of_different_bounds() -> None:
    rows = [
        {
            **{"time": time, "deployment": "stable", "answers": 1, "errors": 0, "refused": 0},
            "buckets": {bound: 1, "+Inf": 1},
        }
        for time, bound in ((0, "0.1"), (1, "0.2"))
    ]
    with pytest.raises(BadRecording, match="different bounds"):
        read_recording("\n".join(map(json.dumps, rows)))


def replay(text: str, fault: Fault | None = None, seed: int = 1) -> Replayed:
    return Replayed(read_recording(text), fault or Fault(), np.random.default_rng(seed))


def test_a_replay_has_the_rates_and_shares_of_the_recording() -> None:
    lines = [line(0.0, errors=150), line(0.0, "canary", 30, 300), line(30.0), line(60.0, answers=0)]
    source = replay(as_csv(*lines))
    moments = [source.at(float(now), 0.0) for now in range(90)]
    assert sum(one.rate for one in moments) == pytest.approx(1500 * 2 + 300, rel=0.03)
    shared = [one for one in moments if one.stable.errors]
    assert {(one.stable.errors, one.canary.errors, one.rate) for one in shared} == {
        (0.1, 0.1, 60.0)
    }
    assert all(one.stable.upto[-1] == 1.0 for one in moments)
    later = source.at(90.0 + 7, 0.0)
    assert later.rate == moments[7].rate, "around and around"


def test_where_no_canary_was_it_is_like_the_stable_version_but_for_the_fault() -> None:
    moment = replay(GOOD, Fault(errors=0.02, latency=2.0)).at(0.0, 0.0)
    assert (moment.stable.errors, moment.canary.errors) == (0.0, 0.02)
    assert moment.canary.upto[1] == pytest.approx(moment.stable.upto[0])
    equal = replay(GOOD).at(0.0, 0.0)
    np.testing.assert_array_equal(equal.canary.upto, equal.stable.upto)


@pytest.mark.parametrize(
    ("fault", "phase"), [(Fault(), "Succeeded"), (Fault(errors=0.02), "Failed")]
)
def test_a_rollout_over_recorded_traffic(fault: Fault, phase: str) -> None:
    rng = np.random.default_rng(3)
    recording: Recording = read_recording(GOOD)
    trace = Run(SPEC, Replayed(recording, fault, rng), fault, Site(), rng).trace()
    found = outcome_of(trace)
    assert found.phase == phase
    assert (found.highest < 20) == (phase == "Failed")
    assert trace.answers == pytest.approx(50 * trace.points[-1].time, rel=0.05)


def test_a_recorded_canary_that_is_worse_is_found() -> None:
    lines = [line(30.0 * n) for n in range(20)]
    lines += [line(30.0 * n, "canary", errors=6, answers=150) for n in range(20)]
    rng = np.random.default_rng(3)
    source = Replayed(read_recording(as_csv(*lines)), Fault(), rng)
    trace = Run(SPEC, source, Fault(), Site(), rng).trace()
    assert trace.state.phase == "Failed"
    assert trace.state.reason.startswith("errors: ")

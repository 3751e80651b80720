"""Recorded traffic: read from both formats, refused in words, and replayed as it was."""

import json
from math import inf

import numpy as np
import pytest

from predictor.rollout.spec import Spec, Target
from predictor.simulator.cluster import Site
from predictor.simulator.load import Fault
from predictor.simulator.outcomes import outcome_of
from predictor.simulator.recording import BadRecording, Recording, Replayed, read_recording
from predictor.simulator.simulation import SimulatedRun

HEAD = "time,deployment,answers,errors,refused,le_0.01,le_0.02,le_0.05,le_+Inf"
BOUNDS = (0.01, 0.02, 0.05)
SPEC = Spec(inference_service="emb", target=Target(storage_uri="pvc://m/2", name="v2"))


def line(time: float, side: str = "stable", errors: int = 0, answers: int = 1500) -> str:
    cdf = [int(answers * share) for share in (0.5, 0.9, 0.997, 1.0)]
    return ",".join(map(str, (time, side, answers, errors, 0, *cdf)))


def as_csv(*lines: str) -> str:
    return "\n".join([HEAD, *lines, ""])


GOOD = as_csv(*(line(30.0 * n) for n in range(20)))


def as_json(text: str) -> str:
    names, *rows = [record.split(",") for record in text.split()]
    made = []
    for row in rows:
        flat = dict(zip(names, row, strict=True))
        buckets = {name[3:]: float(n) for name, n in flat.items() if name.startswith("le_")}
        rest = {name: value for name, value in flat.items() if not name.startswith("le_")}
        made.append(json.dumps({**rest, "time": float(rest["time"]), "buckets": buckets}))
    return "\n".join(made)


def test_both_formats_say_the_same() -> None:
    recording = read_recording(GOOD)
    assert recording == read_recording(as_json(GOOD))
    assert recording.bounds == BOUNDS
    assert (len(recording.intervals), recording.length_s) == (20, 600.0)
    assert recording.intervals[0].stable.buckets[inf] == 1500
    assert recording.intervals[0].canary is None


def test_lines_in_any_order() -> None:
    lines = [line(30.0), line(0.0, "canary", 20), line(0.0), line(60.0)]
    recording = read_recording(as_csv(*lines))
    assert [interval.time for interval in recording.intervals] == [0.0, 30.0, 60.0]
    assert recording.intervals[0].canary is not None
    assert recording.intervals[0].canary.errors == 20


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
        (as_csv("0,stable,5,0,0,4,3,5,5"), "line 2: impossible figures"),
        (as_csv("0,stable,5,0"), "line 2: "),
        ("time,deployment\n0,stable\n", "line 2: "),
        ('{"time": 0}\n', "line 1: there is no 'deployment'"),
        ('{"time": 0\n', "line 1: it is not JSON"),
        (HEAD.replace("le_+Inf", "le_9") + "\n" + line(0.0), "bounds above 0 and"),
        (as_csv(line(0.0)).replace("le_0.05", "le_x"), "line 2: could not convert"),
    ],
)
def test_a_malformed_recording_is_refused(text: str, words: str) -> None:
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
    assert sum(moment.rate for moment in moments) == pytest.approx(1500 * 2 + 300, rel=0.03)
    shared = [moment for moment in moments if moment.stable.errors]
    assert {(moment.stable.errors, moment.canary.errors, moment.rate) for moment in shared} == {
        (0.1, 0.1, 60.0)
    }
    assert all(moment.stable.cdf[-1] == 1.0 for moment in moments)
    later = source.at(90.0 + 7, 0.0)
    assert later.rate == moments[7].rate, "around and around"


def test_a_canary_that_was_not_recorded_is_the_stable_version_with_the_fault() -> None:
    moment = replay(GOOD, Fault(errors=0.02, latency=2.0)).at(0.0, 0.0)
    assert (moment.stable.errors, moment.canary.errors) == (0.0, 0.02)
    assert moment.canary.cdf[1] == pytest.approx(moment.stable.cdf[0])
    equal = replay(GOOD).at(0.0, 0.0)
    np.testing.assert_array_equal(equal.canary.cdf, equal.stable.cdf)


@pytest.mark.parametrize(
    ("fault", "phase"), [(Fault(), "Succeeded"), (Fault(errors=0.02), "Failed")]
)
def test_a_rollout_over_recorded_traffic(fault: Fault, phase: str) -> None:
    rng = np.random.default_rng(3)
    recording: Recording = read_recording(GOOD)
    trace = SimulatedRun(SPEC, Replayed(recording, fault, rng), fault, Site(), rng).trace()
    outcome = outcome_of(trace)
    assert outcome.phase == phase
    assert (outcome.highest < 20) == (phase == "Failed")
    assert trace.answers == pytest.approx(50 * trace.points[-1].time, rel=0.05)


def test_a_recorded_canary_that_is_worse_is_found() -> None:
    lines = [line(30.0 * n) for n in range(20)]
    lines += [line(30.0 * n, "canary", errors=6, answers=150) for n in range(20)]
    rng = np.random.default_rng(3)
    source = Replayed(read_recording(as_csv(*lines)), Fault(), rng)
    trace = SimulatedRun(SPEC, source, Fault(), Site(), rng).trace()
    assert trace.state.phase == "Failed"
    assert trace.state.message.startswith("errors: ")

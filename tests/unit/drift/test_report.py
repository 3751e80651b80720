"""`predictor drift report`: files in, words, figures, a picture and an exit code out."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from predictor import cli
from predictor.cli import drift
from predictor.drift import learn, reference_to_bytes, sketch_to_bytes
from predictor.drift.sketch import ModelIdentity, Sketch
from predictor.drift.window import Window
from predictor.errors import BadSetting
from tests.unit.drift.traffic import invented, sketched

POOL = invented(np.random.default_rng(1))
LATER = invented(np.random.default_rng(2))
RANDOM = np.random.default_rng(1)


def drawn(seed: int, count: int = 1500, drifted: bool = False) -> Sketch:
    generator = np.random.default_rng(seed)
    pool = LATER if drifted else POOL
    return sketched(pool, generator.integers(0, len(pool), count), generator)


@pytest.fixture
def reference(tmp_path: Path) -> str:
    path = tmp_path / "reference.json"
    path.write_bytes(reference_to_bytes(learn([drawn(seed) for seed in range(4)], 1.7e9)))
    return str(path)


def window(path: Path, sketch: Sketch) -> str:
    path.write_bytes(sketch_to_bytes(sketch))
    return str(path)


def report(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    args = drift_arguments(*arguments)
    code = drift.run(args)
    return code, capsys.readouterr().out


def drift_arguments(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    drift.add(parser.add_subparsers())
    return parser.parse_args(["drift", "report", *arguments])


def test_a_report_without_drift_exits_with_0(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = window(tmp_path / "w.json", drawn(9))
    code, words = report(reference, name, capsys=capsys)
    assert code == 0
    assert words.endswith("\nno drift\n")
    assert "DRIFTED" not in words
    assert "reference  simulated, fp32, 48 dimensions: 6000 rows, 4 windows" in words


def test_drift_is_1_and_the_worst_comes_first(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [window(tmp_path / f"{n}.json", drawn(n, 600, drifted=True)) for n in (7, 8)]
    code, words = report(reference, *names, capsys=capsys)
    assert code == 1
    lines = words.splitlines()
    assert lines[1] == "window     simulated, fp32, 48 dimensions: 1200 rows"
    table = lines[3:-2]
    drifted = [line.endswith("DRIFTED") for line in table[1:]]
    assert drifted == sorted(drifted, reverse=True)
    assert drifted[0]
    assert lines[-1].endswith("of 9 tests drifted")


def test_json_has_all_figures(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = window(tmp_path / "w.json", drawn(9, drifted=True))
    code, words = report(reference, name, "--json", capsys=capsys)
    content = json.loads(words)
    assert (code, content["drifted"]) == (1, True)
    assert content["reference"]["rows"] == 6000
    assert content["reference"]["made"] == 1.7e9
    direction = next(finding for finding in content["findings"] if finding["name"] == "direction")
    assert direction["effect"] == direction["statistic"] / direction["threshold"] > 1
    assert direction["drifted"] is True
    assert {finding["name"] for finding in content["findings"]} == set(drift.LABELS)


def test_two_models_are_compared_and_said(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(1)
    other = Window(ModelIdentity("other", "int8", 48), generator)
    rows = generator.standard_normal((1000, 48), np.float32)
    other.observe([9] * 1000, [False] * 1000, [0] * 1000, None, rows)
    name = window(tmp_path / "w.json", other.sketch())
    code, words = report(reference, name, capsys=capsys)
    assert code == 1
    assert "the models differ: the drift may come from the model and not from the traffic" in words


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_report_is_drawn(
    suffix: str, reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / f"drift.{suffix}"
    name = window(tmp_path / "w.json", drawn(9, drifted=True))
    assert report(reference, name, "--plot", str(picture), capsys=capsys)[0] == 1
    begins = picture.read_bytes()[:8]
    assert begins.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    assert picture.stat().st_size > 20_000


def test_traffic_of_token_ids_without_vectors_is_drawn_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = Window(ModelIdentity("bare", "fp32", 8), np.random.default_rng(1))
    zeros = np.zeros((1000, 8), np.float32)
    bare.observe([5] * 1000, [False] * 1000, [0] * 1000, None, zeros)
    path = tmp_path / "reference.json"
    path.write_bytes(reference_to_bytes(learn([bare.sketch()], 0.0)))
    name = window(tmp_path / "w.json", bare.sketch())
    picture = str(tmp_path / "bare.svg")
    code, words = report(str(path), name, "--plot", picture, "--json", capsys=capsys)
    assert code == 0
    assert [finding["name"] for finding in json.loads(words)["findings"]] == [
        *("lengths", "truncated", "unknown", "broken")
    ]


@pytest.mark.parametrize("picture", ["drift.doc", "nowhere/drift.png"])
def test_a_picture_that_cannot_be_is_said_before_reading(picture: str, tmp_path: Path) -> None:
    args = drift_arguments("missing", "missing", "--plot", str(tmp_path / picture))
    with pytest.raises(BadSetting, match="--plot"):
        drift.run(args)


def test_files_that_are_none(reference: str, tmp_path: Path) -> None:
    good = window(tmp_path / "w.json", drawn(9))
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(Path(good).read_bytes()[:-9])
    other = window(tmp_path / "o.json", Window(ModelIdentity("o", "fp32", 48), RANDOM).sketch())
    few = window(tmp_path / "few.json", drawn(9, 999))
    for arguments, words in (
        ((reference, str(tmp_path / "no.json")), "no.json: cannot be read: No such file"),
        ((reference, str(damaged)), "damaged.json: not readable: damaged, or something else"),
        ((good, good), "w.json: not readable"),
        ((reference, good, other), "drift report: of different models"),
        ((reference, few), "drift report: the window has 999 rows; 1000 are needed"),
    ):
        with pytest.raises(BadSetting) as caught:
            drift.run(drift_arguments(*arguments))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_report_is_a_subcommand_of_drift() -> None:
    assert drift in cli.COMMANDS

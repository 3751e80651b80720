"""`predictor rollout simulate`: words, JSON, the picture, and what is refused in one line."""

import argparse
import json
from pathlib import Path

import pytest

from predictor.cli import rollout
from predictor.errors import BadSetting
from tests.unit.simulator.test_recording import GOOD

SPEC = """
apiVersion: v1
kind: Namespace
---
apiVersion: predictor.dev/v1alpha1
kind: EmbeddingRollout
metadata: {name: emb}
spec:
  inferenceService: emb
  target: {storageUri: pvc://models/2, name: v2}
  steps: [{weight: 10, hold: 2m}, {weight: 40, hold: 2m}]
"""


def simulate(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    rollout.add(parser.add_subparsers())
    args = parser.parse_args(["rollout", "simulate", *arguments])
    code: int = args.run(args)
    return code


def test_a_good_canary_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--runs", "5", "--errors", "0.01") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "50 requests/s, default strategy, errors 0.01, 5 runs"
    figures = dict(
        line.rsplit(maxsplit=1) for line in lines if line[-1:] == "%" and "highest" not in line
    )
    assert {name.strip(): share for name, share in figures.items()}["false rollbacks"] == "0.00%"
    assert "ended Succeeded" in figures
    assert not any("rolled back before" in line for line in lines)


def test_a_bad_canary_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--runs", "5", "--canary-errors", "0.05", "--json", "--seed", "3") == 0
    first = capsys.readouterr().out
    figures = json.loads(first)
    assert figures["phases"] == {"Failed": 5}
    assert figures["early"] == 1.0
    assert figures["reasons"] == {"errors": 5}
    assert figures["false_rollbacks"] is None
    assert 0 < figures["detected_median_s"] < 300
    assert simulate("--runs", "5", "--canary-errors", "0.05", "--json", "--seed", "3") == 0
    assert capsys.readouterr().out == first, "the same seed, the same runs"


def test_a_bad_canary_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    simulate("--runs", "3", "--canary-cosine", "0.98")
    text = capsys.readouterr().out
    assert "rolled back before the canary had 20 % of the traffic" in text
    assert "detected first by vectors" in text
    assert "false rollbacks" not in text


def test_a_strategy_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rollout.yaml"
    file.write_text(SPEC)
    simulate("--spec", str(file), "--runs", "2", "--json")
    figures = json.loads(capsys.readouterr().out)
    assert figures["phases"] == {"Succeeded": 2}
    assert figures["ended_median_s"] < 15 * 60


def test_recorded_traffic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "traffic.csv"
    file.write_text(GOOD)
    simulate("--recorded", str(file), "--canary-errors", "0.03", "--runs", "2", "--json")
    figures = json.loads(capsys.readouterr().out)
    assert figures["setting"].startswith(str(file))
    assert figures["phases"] == {"Failed": 2}


@pytest.mark.parametrize("fault", [("--canary-errors", "0.03"), ("--canary-cosine", "0.9"), ()])
def test_the_picture(
    tmp_path: Path, fault: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.png"
    simulate("--runs", "3", "--plot", str(file), *fault)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--runs", "0"), "--runs: 0 is not between 1 and"),
        (("--requests-per-second", "fast"), "'fast' is not a number"),
        (("--canary-errors", "2"), "--canary-errors: 2 is not between 0 and 1"),
        (("--cold-cache", "long"), "--cold-cache: duration 'long'"),
        (("--recorded", "nowhere.csv"), "nowhere.csv: cannot be read"),
        (("--recorded", "x.csv", "--errors", "0.1"), "--errors: cannot be used with --recorded"),
        (
            ("--recorded", "x.csv", "--cold-cache", "1m"),
            "--cold-cache: cannot be used with --recorded",
        ),
        (("--spec", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
        (("--plot", "out.txt"), "has to end in .png"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadSetting, match=words.replace(".", r"\.")):
        simulate(*arguments)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"kind: [", "the file is not YAML"),
        (b"kind: Pod\n", "the file must have one EmbeddingRollout, and has 0"),
        (SPEC.replace("weight: 40", "weight: 4").encode(), "must rise"),
        (b"\xff\xfe", "the file is not UTF-8 text"),
    ],
)
def test_a_malformed_specification_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "rollout.yaml"
    file.write_bytes(content)
    with pytest.raises(BadSetting, match=words):
        simulate("--spec", str(file))


def test_a_recording_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "traffic.csv"
    file.write_text("nothing")
    with pytest.raises(BadSetting, match=r"traffic\.csv: at least two intervals"):
        simulate("--recorded", str(file))

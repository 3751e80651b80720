"""Exports that are stopped, by Ctrl-C, SIGTERM or SIGKILL: one line, and nothing half-written."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from predictor.bundle.publish import STAGING_PREFIX
from tests.integration.test_export import COMMAND, TIMEOUT_S, Done, command, export, left_in
from tests.reference.families.folders import assemble

pytestmark = pytest.mark.slow

ALL_VARIANTS = ("--variants", "int8,int8-weights,fp16")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A directory of a BERT with three small layers."""
    return assemble("bert", tmp_path / "tiny")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def stopped(
    number: signal.Signals, sign: str, *arguments: object, imports: bool = False, **env: str
) -> Done:
    """Send the signal as soon as a line of stderr holds `sign`."""
    through = ("-X", "importtime", *COMMAND) if imports else COMMAND
    with subprocess.Popen(
        command(*arguments, "--no-torch", *ALL_VARIANTS, through=through),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    ) as run:
        assert run.stderr is not None
        before = ""
        for line in run.stderr:
            before += line
            if sign in line:
                run.send_signal(number)
                break
        rest, after = run.communicate(timeout=TIMEOUT_S)
    return Done(run.returncode, rest, before + after)


MOMENTS = {
    "after the graph": "building the float32 graph",
    "after calibration": "int8: calibrating",
    "before publishing": "fp16: proving",
}


@pytest.mark.parametrize(
    ("number", "moment"),
    [*((signal.SIGINT, moment) for moment in MOMENTS), (signal.SIGTERM, "after calibration")],
)
def test_an_interrupted_export_leaves_nothing(
    tiny: Path, out: Path, number: signal.Signals, moment: str
) -> None:
    done = stopped(number, MOMENTS[moment], tiny, "-o", out)
    assert done.refusal(130) == "interrupted"
    assert left_in(out) == []


def test_ctrl_c_while_the_libraries_load_is_one_line(tiny: Path, out: Path) -> None:
    done = stopped(signal.SIGINT, " predictor.errors", tiny, "-o", out, imports=True)
    assert done.refusal(130) == "interrupted"
    assert not out.exists()


def test_an_interrupted_export_removes_what_it_unpacked(tiny: Path, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tiny)
    (tmp_path / "temporary").mkdir()
    for number in (signal.SIGINT, signal.SIGTERM):
        done = stopped(
            number,
            "int8: calibrating",
            packed,
            "-o",
            tmp_path / "out",
            TMPDIR=str(tmp_path / "temporary"),
        )
        assert done.refusal(130) == "interrupted"
        assert left_in(tmp_path / "temporary") == left_in(tmp_path / "out") == []


def test_a_killed_export_leaves_nothing_that_looks_like_a_version(tiny: Path, out: Path) -> None:
    done = stopped(signal.SIGKILL, "int8: calibrating", tiny, "-o", out)
    assert done.code == -signal.SIGKILL
    assert all(name.startswith(STAGING_PREFIX) for name in left_in(out))
    assert export(tiny, "-o", out).code == 0
    assert "1" in left_in(out)

"""What the Dockerfile repeats from elsewhere, because a Dockerfile cannot read it."""

import re
from pathlib import Path

from predictor import __version__

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_label_names_the_version_of_the_package() -> None:
    label = re.search(r'image\.version="(.+?)"', DOCKERFILE)
    assert label is not None
    assert label[1] == __version__


def test_the_default_base_is_the_pinned_one() -> None:
    default = re.search(r"^ARG BASE_IMAGE=(\S+)", DOCKERFILE, re.MULTILINE)
    assert default is not None
    assert f"BASE_IMAGE={default[1]}\n" in (ROOT / "hack/versions.env").read_text()

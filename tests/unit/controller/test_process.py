"""Secrets that change while the controller runs."""

from pathlib import Path

import pytest

from predictor.controller.process import secret_now


def test_a_secret_is_what_the_file_says_now(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    assert secret_now(str(file)) == "first"
    file.write_text("second\n")
    assert secret_now(str(file)) == "second"


def test_one_that_cannot_be_read_is_none_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert secret_now(str(tmp_path / "gone")) == ""
    assert "cannot be read" in caplog.text
    assert secret_now("") == ""

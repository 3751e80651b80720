"""Secrets that change while the controller runs."""

from pathlib import Path

import pytest

from predictor.controller.process import current_secret


def test_a_secret_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    assert current_secret(str(file)) == "first"
    file.write_text("second\n")
    assert current_secret(str(file)) == "second"


def test_a_secret_that_cannot_be_read_is_empty_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert current_secret(str(tmp_path / "gone")) == ""
    assert "cannot be read" in caplog.text
    assert current_secret("") == ""

"""A model directory that appears after the start is waited for, for a stated time."""

import threading
import time
from pathlib import Path

import pytest

from predictor.repository import arrival, await_model_dir
from predictor.settings import ModelSettings, RepositorySettings, Settings


def settings(path: Path, wait_s: float, uri: str = "") -> Settings:
    return Settings(
        model=ModelSettings(model_dir=str(path)),
        repository=RepositorySettings(model_dir_wait_s=wait_s, model_uri=uri),
    )


def test_it_returns_when_the_directory_appears(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As KServe's modelcar makes it appear: a link, which leads nowhere at first."""
    link = tmp_path / "models"
    link.symlink_to(tmp_path / "sidecar")
    waiting = threading.Event()

    def appear() -> None:
        waiting.wait()
        (tmp_path / "sidecar").mkdir()

    sidecar = threading.Thread(target=appear)
    sidecar.start()
    with caplog.at_level("INFO"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrival, "sleep", lambda _: waiting.set())
        await_model_dir(settings(link, 60))
    sidecar.join()
    assert link.is_dir()
    assert "waiting up to 60 s" in caplog.text
    assert "appeared after" in caplog.text


@pytest.mark.parametrize(("wait_s", "uri"), [(0, ""), (60, "s3://bucket/model")])
def test_it_does_not_wait_where_nothing_is_to_appear(
    tmp_path: Path, wait_s: float, uri: str
) -> None:
    started = time.monotonic()
    await_model_dir(settings(tmp_path / "nowhere", wait_s, uri))
    assert time.monotonic() - started < 30


def test_it_gives_up_after_its_time(tmp_path: Path) -> None:
    await_model_dir(settings(tmp_path / "nowhere", 0.01))

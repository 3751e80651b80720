"""One browser for all of these tests; without one they are skipped and say why."""

from collections.abc import Iterator

import pytest

from tests.browser.scripted import Scripted

pytest.importorskip("selenium", reason="no selenium (the extra test)")

from tests.browser import chromium
from tests.browser.chromium import Browser


@pytest.fixture(scope="session")
def _browser() -> Iterator[Browser]:
    if reason := chromium.why_not():
        pytest.skip(reason)
    running = Browser()
    yield running
    running.close()


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    """The browser, which must have had nothing to complain of; a test that expects it takes it."""
    yield _browser
    _browser.driver.get("about:blank")
    assert _browser.console() == []


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    running = Scripted()
    yield running
    running.stop()

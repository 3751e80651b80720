"""The page at /docs: a person sends a request from it, with an API key where one is needed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="no selenium (the extra test)")

from tests.browser.chromium import DESKTOP, PHONE, Browser, Screen
from tests.contract.helpers import MODEL
from tests.serving import Server, model_flags

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
screens = pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=lambda screen: screen.name)

KEY = "sk-docs-0123456789abcdef"
STATUS = ".live-responses-table .response .response-col_status"
BODY = ".live-responses-table .response .microlight"


@pytest.fixture(scope="module")
def guarded(
    model_dir: Path, cache_dir: Path, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Requires an API key."""
    del bundle_dir
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    file.write_text(json.dumps({"keys": [{"name": "docs", "sha256": digest}]}))
    flags = [f"--api-keys-file={file}", "--drain-delay-s=0"]
    running = Server(*model_flags(model_dir, cache_dir), *flags)
    yield running
    assert running.stop() == 0


def open_docs(browser: Browser, server: Server, screen: Screen = DESKTOP) -> None:
    browser.open(f"{server.url}/docs", screen, wait_for=".opblock")


def click(browser: Browser, selector: str) -> None:
    """Click what the selector finds, once it is there."""
    browser.until(lambda: browser.all(selector), f"there is no {selector}")
    element = browser.element(selector)
    browser.script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def unfold(browser: Browser, path: str) -> str:
    """Open the operation of a POST route; returns the selector of its block."""
    block = f".opblock-post:has([data-path='{path}'])"
    click(browser, f"{block} .opblock-summary-control")
    browser.until(lambda: browser.all(f"{block} button.execute"), "the operation did not unfold")
    return block


def execute(browser: Browser, block: str) -> str:
    """Send the request; returns the status of the answer as it is shown."""
    if browser.all(f"{block} button.btn-clear"):
        click(browser, f"{block} button.btn-clear")
        browser.until(lambda: not browser.all(STATUS), "the answer was not cleared")
    click(browser, f"{block} button.execute")
    browser.until(lambda: browser.all(STATUS), "no answer is shown")
    return browser.text(STATUS).split()[0]


def hosts_asked(browser: Browser) -> set[str]:
    """Scheme, host and port of everything that the page has loaded or asked."""
    origins: list[str] = browser.script(
        "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'))"
        ".map(e => new URL(e.name).origin)"
    )
    return set(origins)


@screens
def test_a_request_is_tried_out_and_no_other_host_is_asked(
    server: Server, browser: Browser, screen: Screen
) -> None:
    open_docs(browser, server, screen)
    block = unfold(browser, "/v1/embeddings")
    assert execute(browser, block) == "200"
    assert "embedding" in browser.text(BODY)
    assert hosts_asked(browser) == {server.url}


def test_the_model_of_a_path_is_filled_in(server: Server, browser: Browser) -> None:
    open_docs(browser, server)
    block = unfold(browser, "/v2/models/{model}/infer")
    assert browser.element(f"{block} [data-param-name=model] input").get_attribute("value") == MODEL
    assert execute(browser, block) == "200"


@pytest.mark.parametrize("scheme", ["bearer", "apiKey"])
def test_a_key_that_was_entered_is_sent(guarded: Server, browser: Browser, scheme: str) -> None:
    open_docs(browser, guarded)
    block = unfold(browser, "/embed")
    assert execute(browser, block) == "401"
    assert ["401" in entry["message"] for entry in browser.console()] == [True]
    click(browser, "button.authorize")
    field = "#auth-bearer-value" if scheme == "bearer" else "#api_key_value"
    browser.until(lambda: browser.all(field), "no field for the key")
    browser.element(field).send_keys(KEY)
    click(browser, f".auth-container:has({field}) button.authorize")
    click(browser, "button.btn-done")
    assert execute(browser, block) == "200"


def test_without_keys_there_is_nothing_to_authorize(server: Server, browser: Browser) -> None:
    open_docs(browser, server)
    assert not browser.all("button.authorize")

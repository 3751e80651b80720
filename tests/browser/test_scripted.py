"""The page with figures that a test has made up: what it makes of them, to the digit."""

import time
from typing import Any

import pytest

pytest.importorskip("selenium", reason="no selenium (the extra test)")

from tests.browser import axe
from tests.browser.chromium import DESKTOP, NONE, PHONE, Browser, Screen
from tests.browser.scripted import VERSION_LINE, Scripted, snapshot

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
screens = pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=lambda screen: screen.name)

MARKUP = "<img src=x onerror=document.title='run'>"


def busy(at: float = 102.0) -> dict[str, Any]:
    """Two seconds after `snapshot()`, with much of everything in between."""
    return snapshot(
        at,
        requests={"answered": 90.0, "refused": 8.0, "failed": 2.0},
        # 50 in the first 10 ms, 40 in the next 10, 9 until 40 ms, 1 later.
        latency={"bounds": [0.01, 0.02, 0.04], "counts": [50.0, 90.0, 99.0, 100.0]},
        texts=120.0,
        tokens=20_000.0,
        truncated=6.0,
        queue={"tokens": 900.0, "rows": 30.0, "age_s": 0.25},
        batch_tokens={"count": 10.0, "sum": 1280.0},
        batch_rows={"count": 10.0, "sum": 80.0},
        padding={"count": 10.0, "sum": 0.5},
        cache_hits=80.0,
        cache_misses=120.0,
        cache_saved_tokens=4_000.0,
    )


def plot(browser: Browser, name: str) -> tuple[str, str]:
    """What a plot shows, and what stands below it."""
    return browser.text(f"[data-plot={name}] .value"), browser.text(f"[data-plot={name}] .under")


def test_rates_shares_and_quantiles(scripted: Scripted, browser: Browser) -> None:
    scripted.answers = [snapshot(), busy()]
    browser.open(scripted.url, DESKTOP)
    browser.until(lambda: plot(browser, "requests")[0] == "50.0 /s", "not 50 requests a second")
    assert plot(browser, "requests") == ("50.0 /s", "4.00 refused, 1.00 failed /s")
    assert plot(browser, "texts") == ("100 /s", "3.00 truncated /s")
    assert plot(browser, "tokens") == ("12.0 k /s", "10.0 k run /s")
    # The median at the end of its bucket; 5 of 9 into 20 to 40 ms; all of 9.
    assert plot(browser, "latency")[0] == "p50 10.0 ms p95 31.1 ms p99 40.0 ms"
    assert plot(browser, "queue") == ("900 tokens", "30.0 rows, oldest 250 ms")
    assert plot(browser, "fill") == ("50 %", "128 tokens, 8.00 rows a batch")
    assert plot(browser, "padding") == ("5.0 %", "of the attention view")
    assert plot(browser, "cache") == ("40 %", "of 100 rows /s")
    assert plot(browser, "canonical") == ("0.9999999", "tolerance 0.99999, 1.0 % used")
    assert plot(browser, "drift") == (NONE, "not compared")
    tones = {
        name: browser.element(f"[data-plot={name}]").get_attribute("data-tone")
        for name in ("requests", "queue", "canonical")
    }
    assert tones == {"requests": "bad", "queue": "bad", "canonical": ""}
    label = browser.element("[data-plot=latency] svg").get_attribute("aria-label")
    assert label == "Latency: p50 10.0 ms, p95 31.1 ms, p99 40.0 ms; peak in 2 minutes 40.0 ms"


def test_nothing_is_made_of_nothing(scripted: Scripted, browser: Browser) -> None:
    scripted.answers = [snapshot(), snapshot(102.0)]
    browser.open(scripted.url, DESKTOP)
    browser.until(lambda: plot(browser, "requests")[0] == "0 /s", "no figures")
    assert plot(browser, "latency")[0] == f"p50 {NONE} ms p95 {NONE} ms p99 {NONE} ms"
    assert plot(browser, "cache") == (f"{NONE} %", "nothing looked up")
    assert plot(browser, "fill") == (f"{NONE} %", "no batch ran")


def test_process_that_was_replaced_starts_anew(scripted: Scripted, browser: Browser) -> None:
    scripted.answers = [busy(), snapshot(3.0, "two"), snapshot(5.0, "two")]
    browser.open(scripted.url, DESKTOP)
    browser.until(lambda: plot(browser, "requests")[0] == "0 /s", "no figures")
    assert not browser.element("#notice").is_displayed()


def test_several_processes_are_told_apart(scripted: Scripted, browser: Browser) -> None:
    scripted.answers = [snapshot(), snapshot(50.0, "two"), busy(), snapshot(54.0, "two")]
    browser.open(scripted.url, DESKTOP)
    browser.until(lambda: plot(browser, "requests")[0] == "50.0 /s", "compared with another")
    browser.until(lambda: browser.element("#notice").is_displayed(), "nothing is said")
    assert browser.text("#notice").startswith("Several servers answer at this address")


def versions() -> list[dict[str, Any]]:
    """Everything that may be wrong with a version."""
    drifting = {"drift": {"scripts": 2.5, "lengths": 0.25}, "alarms": ["scripts"]}
    return [
        {**VERSION_LINE, "version": "4", "learning": False, **drifting},
        {**VERSION_LINE, "version": "3", "default": False, "cosine": 0.9, "learning": True},
        {**VERSION_LINE, "version": "2", "default": False, "healthy": False},
        {**VERSION_LINE, "version": "1", "state": "UNAVAILABLE", "reason": MARKUP,
         "failed": True, "default": False, "cosine": None, "tolerance": None, "dimensions": None,
         "reference": None, "revision": None, "variant": None, "checked_s": None},
        {**VERSION_LINE, "name": MARKUP, "version": MARKUP, "state": "LOADING", "variant": MARKUP,
         "revision": MARKUP, "reference": MARKUP, "default": False},
    ]  # fmt: skip


@screens
def test_what_is_wrong_is_shown_and_markup_is_text(
    scripted: Scripted, browser: Browser, screen: Screen
) -> None:
    scripted.answers = [snapshot() | {"versions": versions(), "left_out": 3}]
    browser.open(scripted.url, screen)
    rows = browser.all("#versions tr")
    states = [row.find_element("css selector", ".pill").text for row in rows]
    assert states == ["ready", "ready", "engine down", "unavailable", "loading"]
    assert browser.text("#models-summary") == "3 ready, 2 with a problem, 3 more not shown"
    assert MARKUP in rows[3].text
    assert rows[4].text.count("<img src=x") >= 3
    assert browser.all("img") == []
    assert browser.driver.title == "predictor: ready"
    assert "2.50 scripts, alarm" in " ".join(rows[0].text.split())
    assert browser.text("#drift h3") == "minilm version 4"
    meters = [" ".join(meter.text.split()) for meter in browser.all("#drift .meter")]
    assert meters == ["scripts 2.50, alarm", "lengths 0.25"]
    assert [option.text for option in browser.all("#model option")] == [
        "minilm, version 4", "minilm, version 3", "minilm, version 2",
    ]  # fmt: skip
    assert browser.script("return document.documentElement.scrollWidth") <= screen.width
    if not axe.why_not():
        assert axe.violations(browser) == []


@pytest.mark.parametrize("width", [320, 500, 700, 900, 1081, 1200, 2000])
def test_nothing_scrolls_sideways(scripted: Scripted, browser: Browser, width: int) -> None:
    scripted.answers = [snapshot() | {"versions": versions()}]
    browser.open(scripted.url, Screen("any", width, 800))
    assert browser.script("return document.documentElement.scrollWidth") <= width


def test_choice_of_a_model_is_kept(scripted: Scripted, browser: Browser) -> None:
    scripted.answers = [snapshot() | {"versions": versions()}]
    browser.open(scripted.url, DESKTOP)
    assert browser.element("#model").get_attribute("value") == "minilm:4"
    browser.script("document.getElementById('model').value = 'minilm:2'")
    fewer = snapshot(104.0) | {"versions": versions()[1:3]}
    scripted.answers = [fewer]
    browser.until(lambda: len(browser.all("#model option")) == 2, "the models did not change")
    assert browser.element("#model").get_attribute("value") == "minilm:2"


def test_server_that_comes_back_is_told(scripted: Scripted, browser: Browser) -> None:
    browser.open(scripted.url, DESKTOP)
    scripted.answers = []
    browser.until(lambda: browser.text("#state") == "cannot be reached", "nothing is said")
    scripted.answers = [snapshot(104.0)]
    browser.until(lambda: browser.text("#state") == "ready", "nothing is said")
    assert not browser.element("#notice").is_displayed()
    assert {entry["source"] for entry in browser.console()} == {"network"}


def test_nobody_is_asked_while_nobody_looks(scripted: Scripted, browser: Browser) -> None:
    browser.open(scripted.url, DESKTOP)
    hide = (
        "Object.defineProperty(document, 'hidden', {get: () => arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'));"
    )
    browser.script(hide.replace("arguments[0]", "true"))
    requests = scripted.requests
    time.sleep(4.5)  # two polls, by the browser's own clock
    assert scripted.requests == requests
    browser.script(hide.replace("arguments[0]", "false"))
    browser.until(lambda: scripted.requests > requests, "it does not go on", wait_s=1.5)

"""The page on a real server: it shows what is served, and one can try it without a mouse."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deadlines import DEADLINE_S

pytest.importorskip("selenium", reason="no selenium (the extra test)")

from selenium.webdriver.common.keys import Keys

from tests.browser import axe
from tests.browser.chromium import DESKTOP, NONE, PHONE, Browser, Screen
from tests.contract.helpers import LONG, MODEL, cosines, openai_vectors
from tests.serving import Server, model_flags

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
screens = pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=lambda screen: screen.name)

FIRST, SECOND = "The cat sits outside.", "A feline rests in the garden."
KEY = "sk-browser-0123456789abcdef"
MARKUP = "<img/src=x/onerror=document.title='run'>"
CONTROLS = {
    ("textbox", "First text"),
    ("textbox", "Second text"),
    ("combobox", "Model"),
    ("textbox", "API key if the server wants one"),
    ("button", "Compare"),
}


@pytest.fixture(scope="module")
def watched(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    """Looks at its canonical texts once, and has a cache."""
    del bundle_dir
    flags = [*model_flags(model_dir, cache_dir), "--canonical-interval-s=3600", "--cache-mb=8"]
    running = Server(*flags, "--drain-delay-s=0")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def guarded(
    model_dir: Path, cache_dir: Path, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Wants a key, and its model has a name that nobody should take for markup."""
    del bundle_dir
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    file.write_text(json.dumps({"keys": [{"name": "browser", "sha256": digest}]}))
    flags = [f"--model_name={MARKUP}", f"--api-keys-file={file}", "--drain-delay-s=0"]
    running = Server(*model_flags(model_dir, cache_dir), *flags)
    yield running
    assert running.stop() == 0


def row_of(browser: Browser) -> dict[str, str]:
    """The only line of the table, by its headings."""
    texts = browser.contents("#versions tr:only-child > *")
    return dict(zip(browser.contents("thead th"), texts, strict=True))


@screens
def test_page_shows_what_is_served(watched: Server, browser: Browser, screen: Screen) -> None:
    browser.open(watched.url, screen)
    browser.until(lambda: "≥" in row_of(browser)["Canonical cosine"], "never compared")
    row = row_of(browser)
    info = httpx.get(f"{watched.url}/info", timeout=DEADLINE_S).json()
    assert (row["Model"], row["Version"], row["State"]) == (MODEL, "1", "ready")
    assert (row["Revision"], row["Variant"]) == (info["model_sha"][:12], "fp32")
    assert (row["Dimensions"], row["Proof"]) == ("384", "selfsameness only")
    assert re.fullmatch(r"1\.0000000≥ 0\.99999, \d+ s ago", row["Canonical cosine"])
    assert browser.text("#state") == "ready"
    assert browser.text("#models-summary") == "1 ready"
    width = browser.script("return document.documentElement.scrollWidth")
    assert width <= screen.width, "it scrolls sideways"
    assert browser.console() == []


def test_plots_follow_the_traffic(watched: Server, browser: Browser) -> None:
    browser.open(watched.url, DESKTOP)
    with httpx.Client(base_url=watched.url, timeout=DEADLINE_S) as http:

        def shown() -> bool:
            http.post("/v1/embeddings", json={"model": MODEL, "input": [FIRST, SECOND]})
            return browser.text("[data-plot=requests] b") not in (NONE, "0")

        browser.until(shown, "no requests are seen")
    label = browser.element("[data-plot=requests] svg").get_attribute("aria-label") or ""
    assert re.fullmatch(r"Requests: [\d.]+ /s; peak in 2 minutes [\d.]+", label)
    path = browser.element("[data-plot=requests] .line").get_attribute("d") or ""
    assert path.startswith("M")
    assert browser.text("[data-plot=latency] .value").startswith("p50 ")
    assert browser.text("[data-plot=texts] b") != "0"


@screens
def test_two_texts_by_the_keyboard_alone(watched: Server, browser: Browser, screen: Screen) -> None:
    browser.open(watched.url, screen)
    browser.type_into("text-1", FIRST)
    browser.type_into("text-2", SECOND)
    browser.tab_to("go")
    outline = browser.focused.value_of_css_property("outline-width")
    assert int(outline.removesuffix("px")) >= 2, "the focus cannot be seen"
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.all("#result .similarity"), "no answer")
    with httpx.Client(base_url=watched.url, timeout=DEADLINE_S) as http:
        left, right = openai_vectors(http, [FIRST, SECOND])
        answer = http.post("/v1/embeddings", json={"model": MODEL, "input": [FIRST, SECOND]})
    assert browser.text(".similarity b") == f"{cosines([left], [right])[0]:.4f}"
    facts = browser.text(".facts-list")
    assert f"Tokens {answer.json()['usage']['prompt_tokens']} " in facts
    revision = answer.headers["x-model-revision"][:12]
    assert f"Answered by {MODEL} version 1, revision {revision}" in facts
    assert "Truncated none" in facts
    assert re.search(r"Round trip [\d.]+ ms", facts)
    assert browser.script("return document.documentElement.scrollWidth") <= screen.width


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        (LONG, SECOND, "first text, cut at the limit of the model"),
        (FIRST, LONG, "second text, cut at the limit of the model"),
        (LONG, LONG, "first and second text, cut at the limit of the model"),
    ],
)
def test_truncation_is_told(
    watched: Server, browser: Browser, first: str, second: str, share: str
) -> None:
    browser.open(watched.url, DESKTOP)
    for field, text in (("text-1", first), ("text-2", second)):
        browser.script(f"document.getElementById('{field}').value = arguments[0]", text)
    browser.element("#text-2").send_keys(Keys.CONTROL, Keys.ENTER)
    browser.until(lambda: browser.all("#result .similarity"), "no answer")
    assert f"Truncated {share}" in browser.text(".facts-list")


def test_errors_are_told_in_the_servers_words(watched: Server, browser: Browser) -> None:
    browser.open(watched.url, DESKTOP)
    browser.script("document.querySelector('#model option').value = 'minilm:9'")
    browser.element("#go").send_keys(Keys.ENTER)
    browser.until(lambda: browser.all("#result .problem"), "no answer")
    assert browser.text(".problem").startswith("404: model 'minilm' has no version '9'")
    assert [entry["source"] for entry in browser.console()] == ["network"]  # the 404 itself


def test_key_is_asked_for_and_kept_nowhere(guarded: Server, browser: Browser) -> None:
    browser.open(guarded.url, DESKTOP)

    def ask(key: str, message: str) -> None:
        browser.script("document.activeElement.blur()")
        browser.element("#key").clear()
        browser.element("#key").send_keys(key, Keys.ENTER)
        browser.until(lambda: message in browser.text("#result"), f"not {message!r}")

    ask("", "401: this server wants an API key.")
    assert browser.focused.get_attribute("id") == "key"
    assert browser.element("#key").get_attribute("aria-invalid") == "true"
    ask("sk-of-somebody-else", "401: this server does not know that API key.")
    ask("schlüssel", "visible ASCII characters only")
    ask(KEY, "Cosine similarity 0.6674")
    assert browser.element("#key").get_attribute("aria-invalid") == "false"
    kept = browser.script(
        "return JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, "
        "history.state, document.documentElement.outerHTML])"
    )
    assert KEY not in kept
    browser.driver.refresh()
    browser.until(lambda: browser.all("#versions tr"), "no figures")
    assert browser.element("#key").get_attribute("value") == ""
    assert {entry["source"] for entry in browser.console()} == {"network"}  # the two 401


def test_name_of_a_model_is_text(guarded: Server, browser: Browser) -> None:
    browser.open(guarded.url, PHONE)
    assert browser.text("#versions th") == MARKUP
    assert browser.text("#model option") == f"{MARKUP}, version 1"
    assert browser.all("img") == []
    assert browser.driver.title == "predictor: ready"


def test_stopped_server_is_told(
    model_dir: Path, cache_dir: Path, bundle_dir: Path, browser: Browser
) -> None:
    del bundle_dir
    server = Server(*model_flags(model_dir, cache_dir), "--drain-delay-s=0")
    try:
        browser.open(server.url, DESKTOP)
    finally:
        assert server.stop() == 0
    browser.until(lambda: browser.element("#notice").is_displayed(), "nothing is said")
    assert browser.text("#notice").startswith("The server cannot be reached")
    assert browser.element("#notice").get_attribute("role") == "status"
    assert browser.text("#state") == "cannot be reached"
    assert browser.driver.title == "predictor: cannot be reached"
    browser.element("#go").send_keys(Keys.ENTER)
    browser.until(lambda: browser.all("#result .problem"), "nothing is said")
    assert browser.text("#result") == "The server cannot be reached."
    assert {entry["source"] for entry in browser.console()} == {"network"}


# For everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@screens
def test_axe_finds_nothing(watched: Server, browser: Browser, screen: Screen, scheme: str) -> None:
    if reason := axe.why_not():
        pytest.skip(reason)
    browser.open(watched.url, Screen(screen.name, screen.width, screen.height, scheme))
    browser.element("#go").send_keys(Keys.ENTER)
    browser.until(lambda: browser.all("#result .similarity"), "no answer")
    assert axe.violations(browser) == []


@screens
def test_every_control_and_plot_has_a_name(
    watched: Server, browser: Browser, screen: Screen
) -> None:
    browser.open(watched.url, screen)
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in browser.command("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"]
    ]
    roles = ("textbox", "combobox", "button", "link", "image", "table", "navigation", "heading")
    assert [role for role, name in nodes if role in roles and not name] == []
    assert set(nodes) >= CONTROLS
    columns = [name for role, name in nodes if role == "columnheader"]
    assert columns[:3] == ["Model", "Version", "State"]
    assert len([name for role, name in nodes if role == "image"]) == 10


def test_less_motion_is_none(watched: Server, browser: Browser) -> None:
    browser.open(watched.url, DESKTOP)
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.command("Emulation.setEmulatedMedia", features=features)
    moving = "return getComputedStyle(document.getElementById('go')).transitionDuration"
    assert browser.script(moving) == "0s"

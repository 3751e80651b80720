"""The page at `/`: who gets it, what it may do, and that its figures are those of /metrics."""

import base64
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from predictor.repository import RoutingTable
from predictor.repository.states import ModelRecord, VersionRecord
from predictor.server.accept import prefers_html
from predictor.server.http.page import figures
from predictor.server.http.page.versions import MAX_REASON, MAX_VERSIONS, lines_of
from predictor.server.model import ServedModel
from tests.contract.helpers import DIMENSIONS, LONG, MODEL, counted
from tests.deadlines import DEADLINE_S
from tests.serving import Server, model_flags

CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;"
    "q=0.8,application/signed-exchange;v=b3;q=0.7"
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HTML = {"accept": CHROME}
KEY = "sk-page-0123456789abcdef"
# Namespaces, which nobody fetches.
NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def page(http: httpx.Client) -> httpx.Response:
    return http.get("/", headers=HTML)


def directives(policy: str) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in policy.split(";"))
    return {name: value for name, _, value in parts}


def inside(tag: str, page: str) -> str:
    contents: list[str] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    assert len(contents) == 1, f"{len(contents)} {tag} elements"
    return contents[0]


# Who gets it


@pytest.mark.parametrize("accept", [CHROME, FIREFOX, "text/html", "text/*", "TEXT/HTML, */*"])
def test_browsers_get_the_page(http: httpx.Client, accept: str) -> None:
    response = http.get("/", headers={"accept": accept})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text.startswith("<!doctype html>")
    assert response.headers["vary"] == "accept"


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "",
        "application/json",
        "application/json, text/html",
        "text/html;q=0.5, application/json",
        "text/html;q=0.8, */*",
        "text/html;q=0",
        "text/html;q=nan",
        "text/html;q=2",
        "text/html;q=high",
        "text/plain",
        "nonsense",
        ",;,;q=1,",
    ],
)
def test_others_get_what_they_got(http: httpx.Client, accept: str) -> None:
    response = http.get("/", headers={"accept": accept})
    assert response.json() == {"status": "alive"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["vary"] == "accept"


def test_an_endless_accept_is_not_read_to_its_end() -> None:
    assert not prefers_html("text/plain, " * 100 + "text/html")
    assert not prefers_html(None)


def test_head_is_answered_without_a_body(http: httpx.Client, page: httpx.Response) -> None:
    response = http.head("/", headers=HTML)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len(page.content))


def test_post_embeds_whatever_is_accepted(http: httpx.Client) -> None:
    response = http.post("/", json={"inputs": "hello"}, headers=HTML)
    assert len(response.json()[0]) == DIMENSIONS


# What it is and what it may do


def test_page_is_small(page: httpx.Response) -> None:
    assert len(page.content) < 40_000


def test_page_needs_no_other_host(page: httpx.Response) -> None:
    text = page.text.replace(NAMESPACE, "")
    assert not re.findall(r"https?:|(?:src|href)=['\"]?//|@import|url\(", text)


def test_policy_allows_its_own_style_and_script_only(page: httpx.Response) -> None:
    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert directives(page.headers["content-security-policy"]) == {
        "default-src": "'none'",
        "style-src": digest(inside("style", page.text)),
        "script-src": digest(inside("script", page.text)),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


def test_page_has_nothing_that_its_policy_forbids(page: httpx.Response) -> None:
    markup = page.text.replace(inside("script", page.text), "")
    assert not re.findall(r"<[^>]+\s(?:on\w+|style)=", markup)


def test_script_writes_text_and_never_markup_and_keeps_nothing(page: httpx.Response) -> None:
    script = inside("script", page.text)
    assert "textContent" in script
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|"
        r"localStorage|sessionStorage|indexedDB|document\.cookie|(?:push|replace)State|location",
        script,
    )


# Its figures


def figures_of(http: httpx.Client) -> Any:
    response = http.get("/page.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    return response.json()


def fresh_figures(http: httpx.Client, before: Any = None) -> Any:
    """Figures that are not those which were given out a moment ago."""
    while True:
        fresh = figures_of(http)
        if before is None or fresh["at"] > before["at"]:
            return fresh


def test_figures_have_a_shape(http: httpx.Client) -> None:
    fresh = figures_of(http)
    assert sorted(fresh) == ["at", "left_out", "server", "totals", "versions"]
    server = fresh["server"]
    assert (server["ready"], server["draining"], server["default"]) == (True, False, MODEL)
    assert server["uptime_s"] > 0
    assert fresh["left_out"] == 0
    [line] = fresh["versions"]
    assert (line["name"], line["version"], line["state"]) == (MODEL, "1", "READY")
    assert (line["default"], line["healthy"], line["failed"]) == (True, True, False)
    assert (line["dimensions"], line["variant"]) == (DIMENSIONS, "fp32")
    assert line["revision"] == http.get("/info").json()["model_sha"]
    assert (line["reference"], line["tolerance"]) == ("self", 0.99999)
    assert (line["cosine"], line["checked_s"]) == (None, None)  # the watch is off in this server


def test_figures_are_never_kept_by_anybody_between(http: httpx.Client) -> None:
    headers = http.get("/page.json").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_figures_count_what_is_done(http: httpx.Client) -> None:
    before = fresh_figures(http)
    for texts in (["one"], ["two", LONG]):
        http.post("/v1/embeddings", json={"model": MODEL, "input": texts}).raise_for_status()
    assert http.post("/v1/embeddings", json={"model": "no", "input": "x"}).status_code == 404
    after = fresh_figures(http, before)
    was, now = before["totals"], after["totals"]
    assert now["requests"]["answered"] == was["requests"]["answered"] + 2
    assert now["requests"]["refused"] == was["requests"]["refused"] + 1
    assert now["requests"]["failed"] == was["requests"]["failed"]
    assert now["texts"] == was["texts"] + 3
    assert now["tokens"] == was["tokens"] + 3 + 3 + 256
    assert now["truncated"] == was["truncated"] + 1
    assert now["latency"]["counts"][-1] == was["latency"]["counts"][-1] + 3
    [line], [earlier] = after["versions"], before["versions"]
    assert line["requests"] == earlier["requests"] + 2
    assert line["texts"] == earlier["texts"] + 3
    assert (
        0
        < after["at"] - before["at"]
        == pytest.approx(after["server"]["uptime_s"] - before["server"]["uptime_s"])
    )


def test_figures_are_those_of_the_metrics(http: httpx.Client) -> None:
    totals = fresh_figures(http, figures_of(http))["totals"]
    assert totals["texts"] == counted(http, "predictor_inputs_total")
    assert totals["tokens"] == counted(http, "predictor_tokens_total")
    assert totals["batch_tokens"]["count"] == counted(http, "predictor_batch_tokens_count")
    assert totals["padding"]["sum"] == counted(http, "predictor_padding_ratio_sum")
    bounds, counts = totals["latency"]["bounds"], totals["latency"]["counts"]
    assert len(counts) == len(bounds) + 1
    assert bounds == sorted(bounds)
    assert counts == sorted(counts)
    assert counts[-1] == counted(http, "predictor_request_seconds_count")
    assert counts[4] == counted(http, "predictor_request_seconds_bucket", le="0.002")


def test_figures_hold_no_text_and_no_key(http: httpx.Client) -> None:
    text, before = "quicksilver marmalade", figures_of(http)
    http.post(
        "/v1/embeddings",
        json={"model": MODEL, "input": text},
        headers={"x-api-key": KEY, "x-request-id": "marmalade-7"},
    ).raise_for_status()
    http.post("/v1/embeddings", json={"model": "marmalade-model", "input": text})
    shown = json.dumps(fresh_figures(http, before))
    assert "marmalade" not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("200", "answered"), ("404", "refused"), ("429", "refused"), ("499", "refused"),
     ("500", "failed"), ("503", "failed"), ("504", "failed")],
)  # fmt: skip
def test_outcome_of_a_status(code: str, outcome: str) -> None:
    outcomes = figures.outcomes({(code,): 3.0})
    assert {name: getattr(outcomes, name) for name in ("answered", "refused", "failed")} == {
        "answered": 0.0, "refused": 0.0, "failed": 0.0, outcome: 3.0,
    }  # fmt: skip


# Bounds


def test_answer_is_bounded() -> None:
    many_versions = MAX_VERSIONS + 36
    model: ModelRecord[ServedModel] = ModelRecord("m")
    for number in range(1, many_versions + 1):
        model.versions[number] = VersionRecord("m", number, reason="r" * 1000)
    lines = lines_of(RoutingTable({"m": model}, "", ""))
    assert len(lines) == many_versions
    assert {(line.state, len(line.reason)) for line in lines} == {("UNAVAILABLE", MAX_REASON)}
    server = figures.ServerLine("0", "0", 1.0, False, False, "", 256, 1)
    shown = json.loads(figures.write(1.0, server, lines))
    assert len(shown["versions"]) == MAX_VERSIONS
    assert shown["left_out"] == many_versions - MAX_VERSIONS
    assert [line["version"] for line in shown["versions"][:2]] == [str(many_versions), "99"]


# Other servers


@pytest.fixture(scope="module")
def spare_flags(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> list[str]:
    del bundle_dir  # made before, so that the start is quick
    return [*model_flags(model_dir, cache_dir), "--drain-delay-s=0"]


def test_without_a_page(spare_flags: list[str]) -> None:
    server = Server(*spare_flags, environment={"PREDICTOR_PAGE": "false"})
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as http:
            root = http.get("/", headers=HTML)
            assert root.json() == {"status": "alive"}
            assert http.get("/page.json").status_code == 404
            assert http.head("/page.json").status_code == 404
    finally:
        assert server.stop() == 0


def test_page_asks_for_no_key(spare_flags: list[str], tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    file.write_text(json.dumps({"keys": [{"name": "only", "sha256": digest}]}))
    server = Server(*spare_flags, f"--api-keys-file={file}")
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as http:
            assert http.get("/", headers=HTML).text.startswith("<!doctype html>")
            assert http.post("/", json={"inputs": "x"}).status_code == 401
            answer = http.get("/page.json")
            assert answer.status_code == 200
            assert answer.json()["totals"]["requests"]["refused"] == 1
            assert "only" not in answer.text
    finally:
        assert server.stop() == 0


def test_failed_version_is_listed_with_its_reason(
    cache_dir: Path, bundle_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / MODEL
    shutil.copytree(bundle_dir, folder / "1", copy_function=os.link)
    shutil.copytree(bundle_dir, folder / "2")
    with (folder / "2/tokenizer.json").open("a") as file:
        file.write(" ")
    flags = [*model_flags(folder.parent, cache_dir), "--version-policy=all", "--drain-delay-s=0"]
    server = Server(*flags)
    try:
        first, second = httpx.get(f"{server.url}/page.json", timeout=DEADLINE_S).json()["versions"]
    finally:
        assert server.stop() == 0
    assert (first["version"], first["state"], first["default"]) == ("1", "READY", True)
    assert (second["version"], second["state"]) == ("2", "UNAVAILABLE")
    assert (second["default"], second["failed"], first["failed"]) == (False, True, False)
    assert "tokenizer.json: differs from the digest" in second["reason"]
    assert len(second["reason"]) <= MAX_REASON
    assert second["dimensions"] is None

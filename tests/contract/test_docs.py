"""Documentation and metrics: what is written there is what the server does."""

import hashlib
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from predictor import metrics
from predictor.server.http import documentation, swagger
from predictor.server.http.route import Route
from predictor.server.http.routes import ROUTES as TABLE
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.serving import Server, model_flags

ROUTES = [route for route in TABLE if not route.hidden]
# The admin routes are closed on this server.
WITH_BODY = [route for route in ROUTES if route.body and not route.admin]
WITHOUT_BODY = [route for route in ROUTES if not (route.body or route.admin)]


def name_of(route: Route) -> str:
    return f"{route.method} {route.template}"


def filled_in(path: str) -> str:
    return path.replace("{model}", MODEL).replace("{version}", "1")


@pytest.fixture(scope="module")
def openapi(http: httpx.Client) -> Any:
    response = http.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    return response.json()


def links_of(page: str) -> list[str]:
    """What the page loads."""
    return re.findall(r'(?:src|href)="([^"]*)"', page)


def references_in(node: Any) -> list[str]:
    """Every `$ref` in a JSON document."""
    if isinstance(node, list):
        return [reference for item in node for reference in references_in(item)]
    if not isinstance(node, dict):
        return []
    references = [node["$ref"]] if "$ref" in node else []
    return references + [reference for item in node.values() for reference in references_in(item)]


# /docs


def test_page_is_html_that_is_asked_for_each_time(http: httpx.Client) -> None:
    response = http.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.text.startswith("<!doctype html>")


def test_page_needs_no_other_host(http: httpx.Client) -> None:
    assert links_of(http.get("/docs").text)
    for link in links_of(http.get("/docs").text):
        assert link.startswith(("docs/", "data:"))


def test_policy_of_the_page_allows_this_server_alone(http: httpx.Client) -> None:
    policy = http.get("/docs").headers["content-security-policy"]
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self'"
    assert "unsafe" not in policy
    assert "*" not in policy
    assert ":" not in policy.replace("data:", "")


def test_every_link_of_the_page_is_answered_and_may_be_kept(http: httpx.Client) -> None:
    types = {".css": "text/css", "e.js": "text/javascript"}
    for link in links_of(http.get("/docs").text):
        if link.startswith("data:"):
            continue
        response = http.get("/" + link)
        assert response.status_code == 200, link
        path, _, digest = link.partition("?v=")
        assert response.headers["content-type"].startswith(types[path[-4:]])
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "public, max-age=86400"
        assert hashlib.sha256(response.content).hexdigest().startswith(digest)


@pytest.mark.parametrize("name", ["redoc.standalone.js", "../core.py", "", "%2e%2e%2fcore.py"])
def test_no_other_file_of_the_package_is_served(http: httpx.Client, name: str) -> None:
    assert http.get(f"/docs/{name}").status_code == 404
    assert swagger.asset(name) is None


# /openapi.json


def test_openapi_says_which_version_it_is(openapi: Any) -> None:
    assert re.fullmatch(r"3\.1\.\d+", openapi["openapi"])
    assert openapi["info"]["title"]
    assert openapi["info"]["version"]


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_openapi_has_every_route(openapi: Any, route: Route) -> None:
    operation = openapi["paths"][route.template][route.method.lower()]
    assert operation["summary"]
    assert operation["responses"]["200"]["description"]
    assert ("requestBody" in operation) is (route.body is not None)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_openapi_declares_every_path_parameter(openapi: Any, route: Route) -> None:
    declared = openapi["paths"][route.template][route.method.lower()].get("parameters", [])
    assert [parameter["name"] for parameter in declared] == re.findall(r"{(\w+)}", route.template)
    assert all(parameter["in"] == "path" and parameter["required"] for parameter in declared)


def test_openapi_references_lead_somewhere(openapi: Any) -> None:
    references = references_in(openapi)
    schemas = openapi["components"]["schemas"]
    assert len(references) >= len(WITH_BODY)
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= set(
        schemas
    )


def test_openapi_operation_ids_are_unique(openapi: Any) -> None:
    ids = [
        operation["operationId"]
        for path in openapi["paths"].values()
        for operation in path.values()
    ]
    assert len(set(ids)) == len(ids) == len(ROUTES)


def test_openapi_asks_for_no_key_where_none_is_needed(openapi: Any) -> None:
    assert "securitySchemes" not in openapi["components"]
    assert "security" not in openapi["paths"]["/embed"]["post"]


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_openapi_names_both_ways_to_send_a_key(route: Route) -> None:
    document = documentation.openapi(TABLE, True, MODEL)
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer"}
    assert schemes["apiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    operation = document["paths"][route.template][route.method.lower()]
    assert ("security" in operation) is (route.body is not None)
    assert operation.get("security", []) in ([], [{"bearer": []}, {"apiKey": []}])


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_example_is_answered(http: httpx.Client, openapi: Any, route: Route) -> None:
    content = openapi["paths"][route.template][route.method.lower()]["requestBody"]["content"]
    example = content["application/json"]["example"]
    response = http.post(filled_in(route.template), json=example)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("route", WITHOUT_BODY, ids=name_of)
def test_route_without_a_body_is_answered(http: httpx.Client, route: Route) -> None:
    assert http.request(route.method, filled_in(route.template)).status_code == 200


# /metrics


@pytest.fixture(scope="module")
def families(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> dict[str, Any]:
    """What /metrics of a server with everything on lists, by name, once it has looked at itself."""
    del bundle_dir  # made before, so that the start is quick
    watched = Server(
        *model_flags(model_dir, cache_dir), "--canonical-interval-s=3600", "--drain-delay-s=0"
    )
    try:
        end = time.monotonic() + 30.0
        while "predictor_canonical_min_cosine{" not in (text := scrape(watched.url)):
            assert time.monotonic() < end, "nobody looked at the canonical texts"
            time.sleep(0.1)
    finally:
        assert watched.stop() == 0
    return {family.name: family for family in text_string_to_metric_families(text)}


def scrape(url: str) -> str:
    response = httpx.get(f"{url}/metrics", timeout=DEADLINE_S)
    assert response.headers["content-type"].startswith("text/plain")
    return response.text


OURS = {
    family.name: family.type
    for metric in vars(metrics).values()
    if isinstance(metric, MetricWrapperBase)
    for family in metric.describe()
}


# What has no value yet is not 0: a score before a reference, a GPU that is not there, no shadow.
LATER = {
    *("predictor_drift_score", "predictor_shadow_min_cosine", "predictor_gpu_utilization_ratio"),
    *("predictor_gpu_memory_used_bytes", "predictor_gpu_memory_total_bytes"),
}


@pytest.mark.parametrize("name", OURS)
def test_metric_is_there_without_a_cause(families: dict[str, Any], name: str) -> None:
    # With samples, so that a rate over it is 0 and not missing until something happens.
    assert families[name].type == OURS[name]
    assert families[name].documentation
    assert bool(families[name].samples) == (name not in LATER)


def test_no_metric_is_undocumented(families: dict[str, Any]) -> None:
    # `_created` is the client library's: when each series began.
    listed = {name.removesuffix("_created") for name in families if name.startswith("predictor_")}
    assert listed == set(OURS)


def test_metrics_label_the_model_and_its_version(families: dict[str, Any]) -> None:
    for sample in families["predictor_model_info"].samples:
        assert (sample.labels["model"], sample.labels["version"]) == (MODEL, "1")


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
def test_requests_are_listed_for_each_protocol(families: dict[str, Any], protocol: str) -> None:
    listed = [
        sample.labels["protocol"]
        for sample in families["predictor_requests"].samples
        if sample.labels["code"] == "200"
    ]
    assert protocol in listed


@pytest.mark.parametrize("reason", metrics.REJECTION_REASONS)
def test_rejections_are_listed_for_each_reason(families: dict[str, Any], reason: str) -> None:
    samples = families["predictor_rejected"].samples
    assert reason in {sample.labels["reason"] for sample in samples}

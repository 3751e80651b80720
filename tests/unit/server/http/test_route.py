"""The table of routes and the look-up in it."""

import pytest

from predictor.errors import MethodNotAllowed, RouteNotFound
from predictor.server.application import put_together
from predictor.server.http.route import Router
from predictor.server.http.routes import ROUTES

APPLICATION = put_together()
ROUTER = Router(ROUTES)


def test_no_route_is_declared_twice() -> None:
    declared = [(route.method, route.path) for route in ROUTES]
    assert len(set(declared)) == len(declared)


def test_every_codec_of_a_route_exists_and_speaks_its_task() -> None:
    for route in ROUTES:
        for name in route.codecs:
            codec = APPLICATION.codecs[name]
            assert not route.task or route.task in codec.tasks, route.path


def test_a_route_with_several_codecs_has_a_rule() -> None:
    assert all(len(route.codecs) == 1 or route.choose for route in ROUTES)


@pytest.mark.parametrize(
    ("path", "template", "parameters"),
    [
        ("/v2/models/m/infer", "/v2/models/{model}/infer", {"model": "m"}),
        (
            "/v2/models/m/versions/3/infer",
            "/v2/models/{model}/versions/{version}/infer",
            {"model": "m", "version": "3"},
        ),
        ("/v1/models/org/m:predict", "/v1/models/{model}:predict", {"model": "org/m"}),
        ("/v1/models/org%2Fm:predict", "/v1/models/{model}:predict", {"model": "org/m"}),
        ("/v1/models/m%3A2:predict", "/v1/models/{model}:predict", {"model": "m:2"}),
        ("/embed", "/embed", {}),
        (
            "/openai/deployments/org/m/embeddings",
            "/openai/deployments/{model}/embeddings",
            {"model": "org/m"},
        ),
    ],
)
def test_the_parts_of_a_path_are_decoded_once(
    path: str, template: str, parameters: dict[str, str]
) -> None:
    route, decoded = ROUTER.match("POST", path)
    assert (route.template, decoded) == (template, parameters)


def test_a_name_that_is_encoded_twice_keeps_one_encoding() -> None:
    assert ROUTER.match("GET", "/v2/models/a%2525b").parameters == {"model": "a%25b"}


def test_head_is_answered_where_get_is() -> None:
    assert ROUTER.match("HEAD", "/metrics").route.method == "GET"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/embed", "POST"),
        ("DELETE", "/", "GET, HEAD, POST"),
        ("POST", "/admin/shadow", "GET, PUT, DELETE"),
        ("GET", "/v1/models/m:predict", "POST"),
    ],
)
def test_another_method_is_told_which_are_allowed(method: str, path: str, allowed: str) -> None:
    with pytest.raises(MethodNotAllowed) as raised:
        ROUTER.match(method, path)
    assert raised.value.allowed == allowed


@pytest.mark.parametrize("path", ["/metrics/", "/metrics%0A", "//metrics", "/v1/models/", "", "*"])
def test_a_path_has_one_spelling(path: str) -> None:
    with pytest.raises(RouteNotFound):
        ROUTER.match("GET", path)


@pytest.mark.parametrize("path", ["/%6Detrics", "/v2/models/%41", "/v2/models/%7e", "/a%2"])
def test_a_needless_or_broken_encoding_is_refused(path: str) -> None:
    with pytest.raises(RouteNotFound):
        ROUTER.match("GET", path)


@pytest.mark.parametrize(
    ("path", "codec"),
    [
        ("/v2/models/m/infer", "v2"),
        ("/v2/unknown", "v2"),
        ("/v2/embed/unknown", "cohere"),
        ("/v2/rerank", "cohere"),
        ("/v1/models/m:predict", "v1"),
        ("/v1/unknown", "openai"),
        ("/openai/unknown", "openai"),
        ("/admin/unknown", "v2"),
        ("/unknown", "tei"),
        ("/models/unknown", "openai"),
        ("/openai/deployments/m/unknown", "openai"),
        ("/api/unknown", "ollama"),
        ("/%6Detrics", "tei"),
    ],
)
def test_a_path_has_the_error_shape_of_its_nearest_route(path: str, codec: str) -> None:
    assert ROUTER.codec_of(path) == codec


@pytest.mark.parametrize("path", ["/admin/", "/admin/x", "/v2/repository/models/m/load"])
def test_admin_paths_are_known_whether_they_exist_or_not(path: str) -> None:
    assert ROUTER.is_admin(path)
    assert not ROUTER.is_admin("/v2/models/m")


def test_the_nearest_route_is_never_an_admin_route() -> None:
    with pytest.raises(RouteNotFound) as raised:
        ROUTER.match("POST", "/v2/repositor/index")
    assert "repository" not in str(raised.value).removeprefix("no such route: /v2/repositor/index")

"""A field that is null is as if it were absent: every optional field of every request type.

The types are those of the table of routes and the types inside them, so a new one is included.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from predictor.kserve_sdk import messages
from predictor.protocols.v2_grpc import parameters_of
from predictor.protocols.v2_tensors import InferParameters
from predictor.protocols.wire import decode_json, fields_without_null
from predictor.server.http.route import Route
from tests.unit.protocols.calls import APPLICATION, Sent

_WITH_BODY = [route for route in APPLICATION.routes if route.body is not None]
# Bodies that have everything in them that has optional fields of its own.
_FULL: dict[str, Any] = {
    "/v1/models/{model}:predict": {"instances": ["a"], "parameters": {}},
    "/v2/embed": {"texts": ["a"]},
    "/v2/models/{model}/infer": {
        "inputs": [
            {
                "name": "text",
                "shape": [1],
                "datatype": "BYTES",
                "data": ["a"],
                "parameters": {"binary_data": False},
            }
        ],
        "parameters": {"normalize": True},
        "outputs": [{"name": "embedding", "parameters": {"binary_data": False}}],
    },
}
_FULL["/v2/models/{model}/versions/{version}/infer"] = _FULL["/v2/models/{model}/infer"]


class Case:
    """A body with one field that is null, and the body without that field."""

    def __init__(self, route: Route, place: tuple[str | int, ...], body: Any) -> None:
        self.route = route
        self.name = f"{route.method} {route.template} {'.'.join(map(str, place))}"
        self.with_null = copy.deepcopy(body)
        self.without = copy.deepcopy(body)
        _at(self.with_null, place[:-1])[place[-1]] = None
        _at(self.without, place[:-1]).pop(place[-1], None)


def _at(body: Any, place: tuple[str | int, ...]) -> Any:
    for part in place:
        body = body[part]
    return body


def _optional(
    kind: inspect.Type, body: Any, place: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """The places of optional fields that the body could have."""
    if isinstance(kind, inspect.StructType) and isinstance(body, dict):
        for field in kind.fields:
            inside = (*place, field.encode_name)
            if not field.required:
                yield inside
            yield from _optional(field.type, body.get(field.encode_name), inside)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from _optional(member, body, place)
    elif isinstance(kind, inspect.ListType) and isinstance(body, list):
        for index, item in enumerate(body):
            yield from _optional(kind.item_type, item, (*place, index))


def _cases() -> Iterator[Case]:
    for route in _WITH_BODY:
        body = _FULL.get(route.template, route.example)
        for place in _optional(inspect.type_info(route.body), body):
            # Without inputs there is no request, null or not.
            if place[-1] not in ("data", "texts"):
                yield Case(route, place, body)


CASES = list(_cases())


def _decoded(route: Route, body: Any) -> Any:
    content = json.dumps(body).encode()
    assert route.body is not None
    if route.admin:
        return decode_json(content, route.body)
    tasks = (route.task or "embed",)
    decoded = APPLICATION.codecs[route.codecs[0]].decode(content, Sent({}), tasks)
    return decoded.request, decoded.options


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_null_is_as_if_absent(case: Case) -> None:
    assert _decoded(case.route, case.with_null) == _decoded(case.route, case.without)


def test_there_is_a_case_for_each_route_with_optional_fields() -> None:
    for route in _WITH_BODY:
        kind = inspect.type_info(route.body)
        assert isinstance(kind, inspect.StructType)
        if not all(field.required for field in kind.fields):
            assert any(case.route is route for case in CASES), route.path


def test_every_body_of_the_house_takes_null() -> None:
    def subclasses(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
        for subclass in kind.__subclasses__():
            yield subclass
            yield from subclasses(subclass)

    for kind in subclasses(msgspec.Struct):
        if kind.__module__.startswith(("predictor.protocols", "predictor.server.http.")):
            if kind.__name__ in ("Encoded", "Decoded"):  # not made from JSON
                continue
            assert not list(fields_without_null(inspect.type_info(kind)))


def test_a_type_that_refuses_null_cannot_be_decoded() -> None:
    class Refusing(msgspec.Struct):
        number: int = 0

    with pytest.raises(TypeError, match=r"Refusing\.number"):
        decode_json(b"{}", Refusing)


@pytest.mark.parametrize("name", InferParameters.__struct_fields__)
def test_a_grpc_parameter_without_a_value_is_as_if_absent(name: str) -> None:
    message = messages.ModelInferRequest()
    message.parameters[name].SetInParent()
    assert parameters_of(message.parameters) == InferParameters()


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": ""}])
@pytest.mark.parametrize(
    ("codec", "body"), [("openai", {"input": "a"}), ("cohere", {"texts": ["a"]})]
)
def test_no_model_means_the_default_model(codec: str, body: Any, model: Any) -> None:
    content = json.dumps(body | model).encode()
    assert APPLICATION.codecs[codec].decode(content, Sent({}), ("embed",)).request.model == ""

"""Fields that change vectors: each is honoured or refused by name, in every protocol."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictor.engine.quantize import quantize
from predictor.errors import InvalidInput
from predictor.kserve_sdk import messages
from predictor.protocols.openai import VectorForm
from predictor.protocols.v2_grpc import parameters_of
from predictor.protocols.vector_fields import HONOURED, REFUSED, EmbedFields, VectorField, table
from predictor.tasks.embed import EmbedRequest, EmbedResult
from predictor.types import Lane, OutputType
from tests.unit.protocols.calls import APPLICATION, Sent, encode, encode_error

_TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
BODIES: dict[str, Any] = {
    "openai": {"input": "a"},
    "tei": {"inputs": "a"},
    "cohere": {"texts": ["a"]},
    "ollama": {"model": "m", "input": "a"},
    "ollama_prompt": {"model": "m", "prompt": "a"},
    "v1": {"instances": ["a"]},
    "v2": {"inputs": [_TENSOR]},
}
# Fields that a protocol honours although the others refuse them.
_OF_ITS_OWN = {
    "openai": {"encoding_format", "output_dtype", "embedding_type"},
    "cohere": {"embedding_types", "max_tokens", "images"},
    "ollama_prompt": {"prompt"},
}
CASES = [
    pytest.param(protocol, field, id=f"{protocol} {field.name}")
    for protocol in BODIES
    for field in REFUSED
    if field.name not in _OF_ITS_OWN.get(protocol, ())
]


def request(protocol: str, **fields: Any) -> EmbedRequest:
    body = BODIES[protocol]
    body = body | ({"parameters": fields} if protocol in ("v1", "v2") else fields)
    decoded = APPLICATION.codecs[protocol].decode(json.dumps(body).encode(), Sent({}), ("embed",))
    assert isinstance(decoded.request, EmbedRequest)
    return decoded.request


@pytest.mark.parametrize(("protocol", "field"), CASES)
def test_a_value_that_asks_for_another_vector_is_refused(protocol: str, field: VectorField) -> None:
    plain = request(protocol)
    for value in (None, *field.passes):
        assert request(protocol, **{field.name: value}) == plain
    for value in ("other", 7, ["other"], 0):
        with pytest.raises(InvalidInput, match=field.name) as caught:
            request(protocol, **{field.name: value})
        assert caught.value.param == field.name
        assert json.dumps(value) in str(caught.value)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(InvalidInput) as caught:
        request("openai", instruction="x" * 10_000)
    assert len(str(caught.value)) < 300


def test_a_parameter_of_grpc_is_checked() -> None:
    message = messages.ModelInferRequest()
    message.parameters["late_chunking"].bool_param = True
    with pytest.raises(InvalidInput, match="late_chunking"):
        parameters_of(message.parameters)
    message.parameters["late_chunking"].bool_param = False
    message.parameters["truncation_side"].string_param = "middle"
    with pytest.raises(InvalidInput, match="truncation_side"):
        parameters_of(message.parameters)
    message.parameters["truncation_side"].string_param = "left"
    assert parameters_of(message.parameters).embed_options() == {"truncation_direction": "left"}


def test_the_table_has_every_field() -> None:
    names = {field.name for field in HONOURED} | {field.name for field in REFUSED}
    assert names == set(EmbedFields.__struct_fields__)


@pytest.mark.parametrize("protocol", ["openai", "tei", "v1", "v2"])
@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        ({"input_type": "query"}, {"input_type": "search_query"}),
        ({"input_type": "passage"}, {"input_type": "search_document"}),
        ({"task": "retrieval.query"}, {"input_type": "search_query"}),
        ({"task": "retrieval.query", "input_type": "query"}, {"input_type": "search_query"}),
        ({"prompt_name": "query"}, {"prompt_name": "query"}),
        ({"truncate": "NONE"}, {"truncate": False}),
        ({"truncate": "START"}, {"truncate": True, "truncation_direction": "left"}),
        ({"truncate": "END"}, {"truncate": True, "truncation_direction": "right"}),
        ({"truncate": True}, {"truncate": True}),
        ({"truncation": False}, {"truncate": False}),
        ({"truncation_side": "left"}, {"truncation_direction": "left"}),
        ({"truncation_direction": "Left"}, {"truncation_direction": "left"}),
        ({"truncate_prompt_tokens": -1}, {"truncate": True}),
        ({"truncate_prompt_tokens": 9}, {"truncate": True, "max_tokens": 9}),
        ({"normalize": False}, {"normalize": False}),
        ({"normalized": True}, {"normalize": True}),
        ({"use_activation": False}, {"normalize": False}),
        ({"output_dimension": 8}, {"dimensions": 8}),
        ({"output_dimension": 8, "dimensions": 8}, {"dimensions": 8}),
    ],
)
def test_a_field_is_mapped(protocol: str, fields: Any, meaning: dict[str, Any]) -> None:
    decoded = request(protocol, **fields)
    assert {name: getattr(decoded, name) for name in meaning} == meaning


@pytest.mark.parametrize(
    "fields",
    [
        {"dimensions": 8, "output_dimension": 9},
        {"normalize": True, "normalized": False},
        {"input_type": "query", "task": "retrieval.passage"},
        {"prompt_name": "a", "input_type": "query"},
        {"truncate": True, "truncation": False},
        {"truncate": "START", "truncation_side": "right"},
        {"truncate": "NONE", "truncate_prompt_tokens": -1},
        {"input_type": "image"},
        {"task": "text-matching"},
        {"truncate_prompt_tokens": 0},
        {"truncate": "MIDDLE"},
    ],
)
@pytest.mark.parametrize("protocol", ["openai", "tei"])
def test_what_cannot_be_done_names_the_field(protocol: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        request(protocol, **fields)
    assert json.loads(encode_error("openai", caught.value))["error"]["param"] in fields


def test_an_unknown_word_lists_the_words() -> None:
    with pytest.raises(InvalidInput, match="allowed: base64, float"):
        request("openai", encoding_format="bytes")


@pytest.mark.parametrize(
    ("priority", "lane"), [(0, None), (3, Lane.INGEST), (-1, Lane.QUERY), ("ingest", Lane.INGEST)]
)
@pytest.mark.parametrize("protocol", ["openai", "cohere"])
def test_priority_chooses_the_lane(protocol: str, priority: Any, lane: Lane | None) -> None:
    assert request(protocol, priority=priority).lane is lane


def test_cohere_cuts_to_max_tokens() -> None:
    assert request("cohere", max_tokens=9).max_tokens == 9


@pytest.mark.parametrize("kind", [kind for kind in OutputType if kind is not OutputType.FLOAT])
def test_output_dtype_gives_the_numbers_of_that_type(kind: OutputType) -> None:
    decoded = request("openai", output_dtype=kind.value)
    assert decoded.output_types == (kind,)
    vectors = np.random.default_rng(1).normal(size=(2, 16)).astype(np.float32)
    result = EmbedResult(
        model="m",
        version="1",
        revision="r",
        tokens=2,
        truncated=[],
        vectors=vectors,
        quantized={kind: quantize(vectors, kind)},
    )
    answer = json.loads(encode("openai", VectorForm("float", kind), result).body)
    numbers = [item["embedding"] for item in answer["data"]]
    assert numbers == result.quantized[kind].tolist()


def test_the_table_of_the_documentation_is_this_table() -> None:
    page = Path(__file__).parents[3] / "predictor/docs/protocols.md"
    assert "\n".join(table()) in page.read_text(encoding="utf-8")

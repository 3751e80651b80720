"""Ollama's two routes: bodies, answers, names with a tag, and the option that is refused."""

import json
from typing import Any

import numpy as np
import pytest

from predictor.errors import InvalidInput, ModelNotFound
from predictor.tasks.embed import EmbedResult
from tests.unit.protocols.calls import decode, embed_request, encode, encode_error


def body(**content: Any) -> bytes:
    return json.dumps({"model": "minilm"} | content).encode()


RESULT = EmbedResult(
    vectors=np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32),
    tokens=7, truncated=[], model="minilm", version="1", revision="r",
)  # fmt: skip


@pytest.mark.parametrize(("value", "inputs"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_embed(value: Any, inputs: list[str]) -> None:
    request = embed_request("ollama", body(input=value, truncate=False, dimensions=8))
    assert request.inputs == inputs
    assert (request.model, request.truncate, request.dimensions) == ("minilm", False, 8)
    assert request.normalize is None


def test_prompt() -> None:
    request = embed_request("ollama_prompt", body(prompt="a", keep_alive="5m"))
    assert (request.inputs, request.model, request.normalize) == (["a"], "minilm", None)


@pytest.mark.parametrize(
    ("sent", "model"),
    [("minilm", "minilm"), ("minilm:latest", "minilm"), ("minilm:2", "minilm:2"), ("", "")],
)
def test_the_default_tag_is_no_part_of_the_name(sent: str, model: str) -> None:
    assert embed_request("ollama", body(model=sent, input="a")).model == model
    assert embed_request("ollama_prompt", body(model=sent, prompt="a")).model == model


@pytest.mark.parametrize("options", [None, {}, {"num_ctx": None}, {"seed": 7, "use_mmap": True}])
def test_options_that_change_no_vector_pass(options: Any) -> None:
    assert embed_request("ollama", body(input="a", options=options)).inputs == ["a"]


@pytest.mark.parametrize(("name", "field"), [("ollama", "input"), ("ollama_prompt", "prompt")])
def test_a_context_length_cuts_the_text(name: str, field: str) -> None:
    sent = body(**{field: "a"}, options={"num_ctx": 64})
    assert embed_request(name, sent).max_tokens == 64
    sent = body(**{field: "a"}, options={"num_ctx": 64}, truncate_prompt_tokens=65)
    with pytest.raises(InvalidInput, match=r"options\.num_ctx is 64 and .* is 65") as caught:
        decode(name, sent)
    assert caught.value.param == "options.num_ctx"


@pytest.mark.parametrize("length", ["64", 6.5, [], True])
def test_a_context_length_is_a_number(length: Any) -> None:
    with pytest.raises(InvalidInput, match="num_ctx"):
        decode("ollama", body(input="a", options={"num_ctx": length}))


def test_an_answer_has_the_name_that_was_sent() -> None:
    answer = encode("ollama", "minilm:latest", RESULT)
    assert json.loads(answer.body) == {
        "model": "minilm:latest",
        "embeddings": [[1.0, 2.0], [3.0, 4.0]],
        "prompt_eval_count": 7,
    }


def test_the_answer_to_a_prompt_is_one_vector() -> None:
    assert json.loads(encode("ollama_prompt", None, RESULT).body) == {"embedding": [1.0, 2.0]}


@pytest.mark.parametrize("name", ["ollama", "ollama_prompt"])
def test_errors(name: str) -> None:
    assert json.loads(encode_error(name, ModelNotFound("why"))) == {"error": "why"}

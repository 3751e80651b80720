"""Prompts and normalisation by the model's files and the operator's settings, and their id."""

from typing import Any

import msgspec
import pytest

from predictor.bundle.manifest import Bundle
from predictor.errors import BadSetting
from predictor.settings import RequestSettings
from predictor.tasks.configuration import Configuration, configuration_of
from predictor.types import Pooling

BUNDLE = Bundle(
    source_digest="00",
    family="bert",
    max_length=8,
    dimensions=4,
    pooling=Pooling.MEAN,
    normalize=False,
    inputs="packed",
    prompts={"query": "query: ", "passage": "passage: "},
    default_prompt_name="passage",
    variants={},
)


def configured(bundle: Bundle = BUNDLE, **settings: Any) -> Configuration:
    return configuration_of(bundle, RequestSettings(**settings))


@pytest.mark.parametrize("is_normal", [True, False])
def test_vectors_have_length_1_unless_the_operator_says_otherwise(is_normal: bool) -> None:
    bundle = msgspec.structs.replace(BUNDLE, normalize=is_normal)
    assert configured(bundle).normalize is True
    assert configured(bundle, normalize="model").normalize is is_normal
    assert configured(bundle, normalize="raw").normalize is False


def test_prompts_of_the_operator_are_added_and_win() -> None:
    configuration = configured(prompt=("query=find = this: ", "topic=", "q-1=\tx"))
    assert configuration.prompts == {
        "query": "find = this: ",
        "passage": "passage: ",
        "topic": "",
        "q-1": "\tx",
    }
    assert configuration.default_prompt == "passage: "
    assert configured(prompt=("passage=p ",)).default_prompt == "p "
    assert configured(prompt=("x=y",), default_prompt_name="x").default_prompt == "y"


def test_the_default_prompt_can_be_switched_off() -> None:
    assert configured().default_prompt == "passage: "
    assert configured(no_default_prompt=True).default_prompt == ""
    assert configured(no_default_prompt=True).prompts == BUNDLE.prompts


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": ("query",)}, "--prompt 'query' is not NAME=TEXT"),
        ({"prompt": ("=text",)}, "--prompt '=text' is not NAME=TEXT"),
        ({"prompt": ("a=1", "a=2")}, "--prompt: 'a' is set twice"),
        (
            {"no_default_prompt": True, "default_prompt": "x"},
            "--default-prompt and --no-default-prompt: only one",
        ),
        (
            {"no_default_prompt": True, "default_prompt_name": "query"},
            "--default-prompt-name and --no-default-prompt: only one",
        ),
        (
            {"default_prompt_name": "nope", "prompt": ("topic=t",)},
            "--default-prompt-name nope: the model has prompts passage, query, topic",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting) as raised:
        configured(**settings)
    assert str(raised.value).startswith(message)


def test_the_id_changes_with_whatever_changes_vectors_and_with_nothing_else() -> None:
    same = configured()
    reordered = msgspec.structs.replace(
        BUNDLE, prompts=dict(reversed(BUNDLE.prompts.items())), source_digest="ff"
    )
    assert configured(reordered).id == same.id
    ids = {
        same.id,
        configured(normalize="raw").id,
        configured(no_default_prompt=True).id,
        configured(prompt=("query=q",)).id,
        configured(prompt=("other=",)).id,
        configured(default_prompt="x").id,
    }
    assert len(ids) == 6
    assert same.described() == {
        "id": same.id,
        "prompts": BUNDLE.prompts,
        "default_prompt": "passage: ",
        "normalize": True,
    }

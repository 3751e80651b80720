"""A flag beats a variable, which beats another server's; a wrong value is one sentence."""

import argparse

import pytest

from predictor.errors import BadSetting
from predictor.settings import (
    GROUPS,
    SettingField,
    Settings,
    add_flags,
    fields_of,
    read_settings,
)


def parse(*arguments: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return read_settings(vars(parser.parse_args(arguments)), environment)


def test_defaults() -> None:
    assert parse() == Settings()


def test_a_flag_beats_our_variable_which_beats_teis() -> None:
    assert parse(MAX_BATCH_TOKENS="1").batching.max_batch_tokens == 1
    both = {"MAX_BATCH_TOKENS": "1", "PREDICTOR_MAX_BATCH_TOKENS": "2"}
    assert parse(**both).batching.max_batch_tokens == 2
    assert parse("--max-batch-tokens=3", **both).batching.max_batch_tokens == 3


def test_dashes_and_underscores_are_the_same() -> None:
    assert parse("--http_port", "1").server.http_port == parse("--http-port", "1").server.http_port


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("MAX_CLIENT_BATCH_SIZE", "7", "request.max_client_batch_size"),
        ("MAX_CONCURRENT_REQUESTS", "7", "batching.max_concurrent_requests"),
        ("MAX_BATCH_REQUESTS", "7", "batching.max_batch_rows"),
        ("PAYLOAD_LIMIT", "7777", "request.max_body_bytes"),
        ("TOKENIZATION_WORKERS", "7", "model.tokenization_workers"),
    ],
)
def test_teis_names(name: str, value: str, field: str) -> None:
    group, attribute = field.split(".")
    assert getattr(getattr(parse(**{name: value}), group), attribute) == int(value)


def test_the_pods_hostname_is_not_the_address_to_listen_on() -> None:
    assert parse(HOSTNAME="minilm-predictor-0").server.host == "0.0.0.0"


def test_a_bare_boolean_flag_is_true_and_kserve_gives_a_value() -> None:
    assert parse("--access-log").server.access_log is True
    assert parse("--enable_grpc=false").server.enable_grpc is False


def test_an_empty_variable_is_not_set() -> None:
    assert parse(PREDICTOR_MAX_BATCH_TOKENS="") == Settings()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--http_port=abc"], "--http-port: 'abc' is not a whole number from 0 to 65535"),
        (["--http-port=70000"], "--http-port: '70000' is not a whole number from 0 to 65535"),
        (["--http-port=80.0"], "--http-port: '80.0' is not a whole number from 0 to 65535"),
        (["--device=tpu"], "--device: 'tpu' is not one of auto, cpu, cuda"),
        (
            ["--max-client-batch-size=0"],
            "--max-client-batch-size: '0' is not a whole number of at least 1",
        ),
        (["--access-log=maybe"], "--access-log: 'maybe' is not true or false"),
        (["--ingest-share=0.95"], "--ingest-share: '0.95' is not a number from 0 to 0.9"),
        (["--drain-delay-s=nan"], "--drain-delay-s: 'nan' is not a number of at least 0"),
        (["--threads=1\n2"], r"--threads: '1\n2' is not a whole number of at least 0"),
    ],
)
def test_an_error_names_the_flag_the_value_and_the_limit(
    arguments: list[str], sentence: str
) -> None:
    with pytest.raises(BadSetting) as caught:
        parse(*arguments)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PREDICTOR_THREADS", "x", "'x' is not a whole number of at least 0"),
        ("MAX_BATCH_TOKENS", "x", "'x' is not a whole number of at least 1"),
        ("DTYPE", "bfloat16", "'bfloat16' is not one of auto, fp32, int8, int8-weights, fp16"),
    ],
)
def test_an_error_names_the_variable(name: str, value: str, sentence: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse(**{name: value})
    assert str(caught.value) == f"{name}: {sentence}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("false", False),
        ("False", False),
        ("0", False),
    ],
)
def test_booleans_are_read_in_any_case_and_as_digits(text: str, value: bool) -> None:
    assert parse(PREDICTOR_PAGE=text).server.page is value
    assert parse(f"--access-log={text}").server.access_log is value


@pytest.mark.parametrize(("text", "value"), [(" 7\n", 7), ("1_000", 1000), ("+7", 7), ("007", 7)])
def test_whole_numbers_are_read_as_python_reads_them(text: str, value: int) -> None:
    assert parse(PREDICTOR_THREADS=text).model.threads == value


def test_numbers_are_read_as_python_reads_them() -> None:
    assert parse("--ingest-share=.5").batching.ingest_share == 0.5
    assert parse("--cache-ttl-s=inf").cache.cache_ttl_s == float("inf")


def test_teis_names_of_the_variants_are_translated_in_its_variable_only() -> None:
    assert parse(DTYPE="float16").model.variant == "fp16"
    assert parse(DTYPE="int8").model.variant == "int8"
    with pytest.raises(BadSetting, match="PREDICTOR_VARIANT: 'float16' is not one of auto, "):
        parse(PREDICTOR_VARIANT="float16")


@pytest.mark.parametrize(
    "field", [field for group in GROUPS.values() for field in fields_of(group)]
)
def test_every_default_is_read_back_from_its_text(field: SettingField) -> None:
    flag = f"{field.flag}={field.default_text}"
    assert parse(flag) == Settings()


def test_a_model_without_a_name_is_refused_in_one_line() -> None:
    with pytest.raises(BadSetting, match=r"^--model[-_]name: '' is not a text of at least 1"):
        read_settings({"model_name": ""}, {})


def test_a_repeated_flag_is_a_list_and_a_variable_has_one_text_a_line() -> None:
    texts = ("query=query: ", "passage=passage: ")
    assert parse(*(f"--prompt={text}" for text in texts)).request.prompt == texts
    assert parse(PREDICTOR_PROMPT="\n".join([*texts, ""])).request.prompt == texts
    assert parse("--prompt=a=b", PREDICTOR_PROMPT="c=d").request.prompt == ("a=b",)


def test_vllms_names_are_the_name_and_the_aliases() -> None:
    model = parse("--served-model-name", "a", "b", "c", "--model-alias=d").model
    assert (model.model_name, model.model_alias) == ("a", ("d", "b", "c"))
    named = parse("--model_name=m", "--served-model-name", "a", "m").model
    assert (named.model_name, named.model_alias) == ("m", ("a",))

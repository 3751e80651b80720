"""Precedence, aliases, and sentences for wrong values."""

import argparse

import pytest

from predictor.errors import BadSetting
from predictor.settings import Settings, add_flags, read_settings


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
        (["--http_port=abc"], "--http-port: 'abc' is not a number"),
        (["--device=tpu"], "--device: 'tpu' is not one of auto, cpu, cuda"),
        (["--max-client-batch-size=0"], "--max-client-batch-size: 0 is under the minimum 1"),
        (["--access-log=maybe"], "--access-log: 'maybe' is not true or false"),
        (["--ingest-share=0.95"], "0.95 is over the maximum 0.9"),
        (["--drain-delay=nan"], "under the minimum"),
    ],
)
def test_wrong_values_are_sentences(arguments: list[str], sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        parse(*arguments)


def test_the_variable_at_fault_is_named() -> None:
    with pytest.raises(BadSetting, match="MAX_BATCH_TOKENS: 'x' is not a number"):
        parse(MAX_BATCH_TOKENS="x")

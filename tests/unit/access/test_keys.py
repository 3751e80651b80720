"""What a file of keys may say; what it may not say is refused without repeating it."""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.access.keys import NEVER, parse_keys
from predictor.errors import BadSetting
from tests.unit.access.files import INGEST, SEARCH, digest, entry, listing


def test_all_fields_are_read_and_what_is_left_out_is_unlimited() -> None:
    full = entry(
        "search",
        SEARCH,
        models=["minilm"],
        requests_per_minute=600,
        tokens_per_minute=100_000,
        expires="2027-01-01T02:00:00+02:00",
    )
    keys = parse_keys(listing(full, entry("ingest", INGEST)))
    search, ingest = keys[bytes.fromhex(digest(SEARCH))], keys[bytes.fromhex(digest(INGEST))]
    assert (search.name, search.models) == ("search", ("minilm",))
    assert (search.requests_per_minute, search.tokens_per_minute) == (600, 100_000)
    assert search.expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert (ingest.models, ingest.requests_per_minute, ingest.tokens_per_minute) == ((), 0, 0)
    assert ingest.expires == NEVER


def test_digests_may_be_in_capitals() -> None:
    shouted = {"name": "search", "sha256": digest(SEARCH).upper()}
    assert list(parse_keys(listing(shouted))) == [bytes.fromhex(digest(SEARCH))]


def test_an_empty_list_is_a_decision() -> None:
    assert parse_keys(b'{"keys": []}') == {}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("sha256", "ab" * 31, "64 hex digits"),
        ("sha256", "ab" * 32 + "\n", "64 hex digits"),
        ("sha256", " " * 2 + "ab" * 31, "64 hex digits"),
        ("sha256", "zz" * 32, "64 hex digits"),
        ("sha256", "\N{ARABIC-INDIC DIGIT ONE}" * 64, "64 hex digits"),
        ("sha256", digest(""), "empty text"),
        ("sha256", None, "Expected `str`"),
        ("name", "", "matching"),
        ("name", "a\nb", "matching"),
        ("name", "a\n", "matching"),
        ("name", "n" * 65, "matching"),
        ("models", [], "length >= 1"),
        ("models", [""], "length >= 1"),
        ("models", "minilm", "Expected `array`"),
        ("models", None, "Expected `array`"),
        ("requests_per_minute", 0, ">= 1"),
        ("requests_per_minute", -5, ">= 1"),
        ("requests_per_minute", 1.5, "Expected `int`"),
        ("requests_per_minute", "600", "Expected `int`"),
        ("requests_per_minute", True, "Expected `int`"),
        ("requests_per_minute", None, "Expected `int`"),
        ("tokens_per_minute", 0, ">= 1"),
        ("tokens_per_minute", 10**13, "<= 1000000000000"),
        ("expires", "2027-01-01T00:00:00", "timezone"),
        ("expires", "2027-01-01", "RFC3339"),
        ("expires", 1798761600, "Expected `datetime`"),
        ("expires", None, "Expected `datetime`"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(field: str, value: Any, reason: str) -> None:
    wrong = {**entry("ingest", INGEST), field: value}
    with pytest.raises(BadSetting) as caught:
        parse_keys(listing(entry("search", SEARCH), wrong))
    assert reason in str(caught.value)
    assert f"$.keys[1].{field}" in str(caught.value)


def test_two_keys_may_not_share_a_name_or_a_digest() -> None:
    with pytest.raises(BadSetting, match=r"this name - at `\$\.keys\[1\]\.name`"):
        parse_keys(listing(entry("search", SEARCH), entry("search", INGEST)))
    again = {"name": "other", "sha256": digest(SEARCH).upper()}
    with pytest.raises(BadSetting, match=r"this digest - at `\$\.keys\[1\]\.sha256`"):
        parse_keys(listing(entry("search", SEARCH), again))


@pytest.mark.parametrize("missing", ["name", "sha256"])
def test_name_and_digest_are_required(missing: str) -> None:
    short = entry("search", SEARCH)
    del short[missing]
    with pytest.raises(BadSetting, match=rf"`{missing}`.*keys\[0\]"):
        parse_keys(listing(short))


def test_a_misspelt_field_is_refused_and_the_right_ones_are_named() -> None:
    with pytest.raises(BadSetting, match="requests_per_minute") as caught:
        parse_keys(listing(entry("search", SEARCH, request_per_minute=5)))
    assert "$.keys[0]" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        {"keys": [{"name": "search", "sha256": SEARCH}]},
        {"keys": [{"name": "search", "key": SEARCH}]},
        {"keys": [{SEARCH: "search"}]},
        {"keys": {SEARCH: "search"}},
        {"keys": [SEARCH]},
        {"keys": SEARCH},
        {SEARCH: {"name": "search"}},
        {"keys": [], SEARCH: 1},
        [SEARCH],
        SEARCH,
        {"keys": [{**entry("search", INGEST), "expires": SEARCH}]},
        {"keys": [{**entry("search", INGEST), "models": SEARCH}]},
        {"keys": [{"name": f"{SEARCH} of search", "sha256": digest(INGEST)}]},
        {"keys": [{"name": SEARCH, "sha256": "search"}]},
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(content: Any) -> None:
    for text in (json.dumps(content), json.dumps(content)[:-1], f"{SEARCH} {json.dumps(content)}"):
        with pytest.raises(BadSetting) as caught:
            parse_keys(text.encode())
        assert SEARCH not in str(caught.value)
        assert caught.value.__cause__ is None


def test_every_beginning_of_a_file_is_refused() -> None:
    whole = listing(entry("search", SEARCH, models=["minilm"]), entry("ingest", INGEST))
    for length in range(len(whole)):
        with pytest.raises(BadSetting):
            parse_keys(whole[:length])


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe{\x00}\x00", b'{"keys": "\xff"}', b'{"keys": ' + b"[" * 100_000, b"\0" * 64],
)
def test_a_keys_file_that_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(BadSetting):
        parse_keys(content)


@given(st.binary(max_size=200))
def test_any_bytes_give_keys_or_a_bad_setting(noise: bytes) -> None:
    whole = bytearray(listing(entry("search", SEARCH)))
    for content in (noise, bytes(whole[:40]) + noise + bytes(whole[40 + len(noise) :])):
        with suppress(BadSetting):  # and nothing else, which would reach every client
            parse_keys(content)


def test_ten_thousand_keys_are_read_at_once() -> None:
    content = listing(
        *(
            entry(f"k{n}", f"key-{n:040d}", models=["a", "b"], tokens_per_minute=9)
            for n in range(10_000)
        )
    )
    started = time.thread_time()
    keys = parse_keys(content)
    # 10 ms here; the bound catches what is quadratic, not a slow machine.
    assert time.thread_time() - started < 1.0
    assert len(keys) == 10_000

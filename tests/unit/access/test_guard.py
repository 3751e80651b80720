"""Who is let in, what they may do, and what a new file changes for them."""

import logging
import sys
import time
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from predictor.access import Caller, Guard
from predictor.errors import BadSetting, Forbidden, RateLimited, Unauthorized
from predictor.settings import AccessSettings
from tests.unit.access.files import INGEST, SEARCH, Mount, entry, listing

WALL = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def opened(path: Path, *entries: dict[str, Any]) -> Guard:
    path.write_bytes(listing(*entries))
    return Guard.open(AccessSettings(api_keys_file=str(path)))


def called(guard: Guard, key: str, now: float = 0.0) -> Caller:
    caller = guard.caller(key, now, WALL)
    assert caller is not None
    return caller


def test_without_a_file_everybody_may_ask() -> None:
    guard = Guard.open(AccessSettings())
    guard.refresh(0.0)
    assert guard.caller(None, 0.0, WALL) is None
    assert guard.caller("whatever", 0.0, WALL) is None


def test_a_key_of_the_file_is_let_in_and_no_other(path: Path) -> None:
    guard = opened(path, entry("search", SEARCH), entry("ingest", INGEST))
    assert called(guard, SEARCH).name == "search"
    assert called(guard, INGEST).name == "ingest"
    for wrong in (SEARCH[:-1], SEARCH + "0", SEARCH.upper(), "\udc80", "é", "x" * 100_000):
        with pytest.raises(Unauthorized, match="not known") as caught:
            guard.caller(wrong, 0.0, WALL)
        assert wrong not in str(caught.value)


@pytest.mark.parametrize("credential", [None, ""])
def test_without_a_key_the_answer_says_how_to_send_one(path: Path, credential: str | None) -> None:
    guard = opened(path, entry("search", SEARCH))
    with pytest.raises(
        Unauthorized, match=r"^send an API key: `Authorization: Bearer KEY` or `x-api-key: KEY`$"
    ):
        guard.caller(credential, 0.0, WALL)


def test_a_digest_is_not_a_key(path: Path) -> None:
    guard = opened(path, entry("search", SEARCH))
    with pytest.raises(Unauthorized):
        guard.caller(str(entry("search", SEARCH)["sha256"]), 0.0, WALL)


def test_a_key_is_refused_from_the_moment_it_expires(path: Path) -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    guard = opened(path, entry("search", SEARCH, expires="2027-01-01T01:00:00+01:00"))
    assert guard.caller(SEARCH, 0.0, end - 0.001) is not None
    with pytest.raises(Unauthorized, match="'search' has expired"):
        guard.caller(SEARCH, 0.0, end)


def test_a_key_is_for_the_models_that_it_names(path: Path) -> None:
    guard = opened(path, entry("search", SEARCH, models=["minilm"]), entry("ingest", INGEST))
    called(guard, SEARCH).may_use("minilm")
    with pytest.raises(Forbidden, match="'search' is not for the model 'e5'"):
        called(guard, SEARCH).may_use("e5")
    with pytest.raises(Forbidden):
        called(guard, SEARCH).may_use("")
    with pytest.raises(Forbidden) as caught:
        called(guard, SEARCH).may_use("x" * 100_000)
    assert len(str(caught.value)) < 200
    called(guard, INGEST).may_use("e5")


def test_requests_are_counted_and_the_refusal_says_limit_and_wait(path: Path) -> None:
    guard = opened(path, entry("search", SEARCH, requests_per_minute=2), entry("ingest", INGEST))
    caller = called(guard, SEARCH)
    caller.take_request(10.0)
    called(guard, SEARCH).take_request(10.0)
    with pytest.raises(RateLimited, match=r"'search' .* 2 requests .* in 30\.1 s") as caught:
        called(guard, SEARCH).take_request(10.0)
    assert caught.value.retry_after_s == pytest.approx(30.0, abs=0.01)
    for _ in range(100):
        called(guard, INGEST).take_request(10.0)
    caller.take_request(10.0 + caught.value.retry_after_s)


def test_tokens_are_counted_and_the_refusal_says_limit_and_wait(path: Path) -> None:
    caller = called(opened(path, entry("search", SEARCH, tokens_per_minute=600)), SEARCH)
    caller.take_tokens(500, 0.0)
    match = r"'search' has 100 of its 600 tokens a minute left and this request has 200"
    with pytest.raises(RateLimited, match=match) as caught:
        caller.take_tokens(200, 0.0)
    assert caught.value.retry_after_s == pytest.approx(10.0, abs=0.01)
    caller.take_tokens(100, 0.0)
    caller.take_tokens(0, 0.0)
    caller.take_request(0.0)


def test_a_request_refused_for_its_tokens_still_counts_as_a_request(path: Path) -> None:
    limits = {"requests_per_minute": 2, "tokens_per_minute": 10}
    caller = called(opened(path, entry("search", SEARCH, **limits)), SEARCH)
    caller.take_request(0.0)
    caller.take_tokens(10, 0.0)
    caller.take_request(0.0)
    with pytest.raises(RateLimited, match="tokens"):
        caller.take_tokens(10, 0.0)
    with pytest.raises(RateLimited, match="requests"):
        caller.take_request(0.0)


def test_headers_are_openai_s_and_only_of_limits_that_there_are(path: Path) -> None:
    guard = opened(
        path,
        entry("search", SEARCH, requests_per_minute=600, tokens_per_minute=60_000),
        entry("ingest", INGEST),
        entry("half", "half", tokens_per_minute=6),
    )
    caller = called(guard, SEARCH)
    caller.take_request(0.0)
    caller.take_tokens(1200, 0.0)
    assert caller.headers(0.0) == (
        ("x-ratelimit-limit-requests", "600"),
        ("x-ratelimit-remaining-requests", "599"),
        ("x-ratelimit-reset-requests", "100ms"),
        ("x-ratelimit-limit-tokens", "60000"),
        ("x-ratelimit-remaining-tokens", "58800"),
        ("x-ratelimit-reset-tokens", "1.2s"),
    )
    assert called(guard, INGEST).headers(0.0) == ()
    assert dict(called(guard, "half").headers(0.0)) == {
        "x-ratelimit-limit-tokens": "6",
        "x-ratelimit-remaining-tokens": "6",
        "x-ratelimit-reset-tokens": "0s",
    }


def test_a_new_file_lets_in_and_shuts_out_without_a_restart(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "secret", "keys.json", listing(entry("search", SEARCH)))
    guard = Guard.open(AccessSettings(api_keys_file=str(mount.path)))
    assert called(guard, SEARCH).name == "search"
    mount.swap(listing(entry("ingest", INGEST)))
    assert called(guard, INGEST, 1.0).name == "ingest"
    with pytest.raises(Unauthorized):
        guard.caller(SEARCH, 1.0, WALL)


def test_a_new_file_leaves_buckets_as_they_are_but_for_limits_that_changed(path: Path) -> None:
    old = {"requests_per_minute": 5, "tokens_per_minute": 100}
    guard = opened(path, entry("search", SEARCH, **old))
    in_flight = called(guard, SEARCH)
    in_flight.take_request(0.0)
    in_flight.take_tokens(100, 0.0)
    path.write_bytes(
        listing(
            entry("ingest", INGEST, **old),
            entry("search", SEARCH, requests_per_minute=7, tokens_per_minute=100, models=["m"]),
        )
    )
    caller = called(guard, SEARCH, 1.0)
    with pytest.raises(Forbidden):
        caller.may_use("other")
    assert dict(caller.headers(1.0))["x-ratelimit-remaining-requests"] == "7"
    assert dict(caller.headers(1.0))["x-ratelimit-remaining-tokens"] == "1"
    # A request that was let in before counts into the same bucket.
    in_flight.take_tokens(1, 1.0)
    assert dict(caller.headers(1.0))["x-ratelimit-remaining-tokens"] == "0"
    assert dict(called(guard, INGEST, 1.0).headers(1.0))["x-ratelimit-remaining-tokens"] == "100"


def test_a_new_key_under_the_old_name_goes_on_with_its_bucket(path: Path) -> None:
    guard = opened(path, entry("search", SEARCH, requests_per_minute=1))
    called(guard, SEARCH).take_request(0.0)
    path.write_bytes(listing(entry("search", INGEST, requests_per_minute=1)))
    with pytest.raises(RateLimited):
        called(guard, INGEST, 1.0).take_request(1.0)


def test_a_limit_may_be_taken_away_and_given(path: Path) -> None:
    guard = opened(path, entry("search", SEARCH, requests_per_minute=1))
    called(guard, SEARCH).take_request(0.0)
    path.write_bytes(listing(entry("search", SEARCH)))
    assert called(guard, SEARCH, 1.0).headers(1.0) == ()
    path.write_bytes(listing(entry("search", SEARCH, requests_per_minute=2)))
    assert len(called(guard, SEARCH, 2.0).headers(2.0)) == 3


@pytest.mark.parametrize("content", [b"", b"{}", listing(entry("search", SEARCH))[:-5], b"null"])
def test_a_broken_new_file_opens_nothing_and_shuts_nobody_out(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    guard = opened(path, entry("search", SEARCH, requests_per_minute=10))
    called(guard, SEARCH).take_request(0.0)
    path.write_bytes(content)
    for tick in range(1, 6):
        assert called(guard, SEARCH, float(tick)).name == "search"
        for wrong in (None, "", INGEST):
            with pytest.raises(Unauthorized):
                guard.caller(wrong, float(tick), WALL)
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert f"--api-keys-file {path}" in errors[0]
    path.unlink()
    assert called(guard, SEARCH, 6.0).name == "search"


def test_an_empty_list_shuts_everybody_out_and_says_so(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guard = opened(path, entry("search", SEARCH))
    path.write_bytes(b'{"keys": []}')
    for credential in (None, SEARCH):
        with pytest.raises(Unauthorized):
            guard.caller(credential, 1.0, WALL)
    assert "nobody may ask" in caplog.text


@pytest.mark.parametrize("content", [None, b"", b'{"keys": [{"name": "a", "sha256": "b"}]}'])
def test_a_missing_or_broken_file_at_start_is_a_bad_setting(
    path: Path, content: bytes | None
) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSetting, match=f"^--api-keys-file {path}: ") as caught:
        Guard.open(AccessSettings(api_keys_file=str(path)))
    assert "\n" not in str(caught.value)


def test_no_log_and_no_error_holds_a_key_or_a_digest(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guard = opened(path, entry("search", SEARCH, requests_per_minute=1))
    called(guard, SEARCH).take_request(0.0)
    said: list[str] = []
    path.write_bytes(b'{"keys": [{"%s": 1}]}' % SEARCH.encode())
    for credential in (SEARCH, INGEST, None):
        try:
            called(guard, credential or "", 1.0).take_request(1.0)
        except (RateLimited, Unauthorized) as error:
            said.append(str(error))
    assert len(said) == 3
    digest = str(entry("search", SEARCH)["sha256"])
    assert not any(s in "\n".join([*said, caplog.text]) for s in (SEARCH, INGEST, digest))
    assert "stays in force" in caplog.text


def test_unknown_keys_are_not_remembered(path: Path) -> None:
    guard = opened(path, entry("search", SEARCH))
    called(guard, SEARCH)

    def held() -> int:
        return sum(sys.getsizeof(part) for part in vars(guard).values())

    before = held()
    for n in range(10_000):
        with pytest.raises(Unauthorized):
            guard.caller(f"guess-{n}", 0.0, WALL)
    assert held() == before
    assert len(guard._callers) == 1


def test_ten_thousand_keys_cost_what_one_does(path: Path) -> None:
    """5 µs for a good key and 11 for a guess on the machine on which it was written."""
    keys = [f"key-{n:040d}" for n in range(10_000)]
    guard = opened(path, *(entry(f"k{n}", key) for n, key in enumerate(keys)))
    series = len(list(REGISTRY.collect()))
    for key in keys:
        called(guard, key)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    seconds = {"known": 1.0, "unknown": 1.0}
    for _ in range(3):  # the best round counts: the machine may be busy
        for kind, least in seconds.items():
            started = time.process_time()
            for key in keys:
                with suppress(Unauthorized):
                    guard.caller(key if kind == "known" else f"{key}?", 0.0, WALL)
            seconds[kind] = min(least, (time.process_time() - started) / len(keys))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print({kind: f"{spent * 1e6:.1f} µs" for kind, spent in seconds.items()})
    assert max(seconds.values()) < 100e-6
    assert grown < 64 << 10
    assert len(guard._callers) == len(keys)
    assert len(list(REGISTRY.collect())) == series

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

from predictor.access import Authenticator, Principal
from predictor.errors import BadSetting, Forbidden, RateLimited, Unauthorized
from predictor.settings import AccessSettings
from tests.unit.access.files import INGEST, SEARCH, Mount, entry, listing

WALL = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def opened(path: Path, *entries: dict[str, Any]) -> Authenticator:
    path.write_bytes(listing(*entries))
    return Authenticator.open(AccessSettings(api_keys_file=str(path)))


def authenticate(authenticator: Authenticator, key: str, now: float = 0.0) -> Principal:
    principal = authenticator.authenticate(key, now, WALL)
    assert principal is not None
    return principal


def test_without_a_file_no_key_is_needed() -> None:
    authenticator = Authenticator.open(AccessSettings())
    authenticator.refresh(0.0)
    assert authenticator.authenticate(None, 0.0, WALL) is None
    assert authenticator.authenticate("whatever", 0.0, WALL) is None


def test_the_keys_of_the_file_are_accepted_and_no_others(path: Path) -> None:
    authenticator = opened(path, entry("search", SEARCH), entry("ingest", INGEST))
    assert authenticate(authenticator, SEARCH).name == "search"
    assert authenticate(authenticator, INGEST).name == "ingest"
    for wrong in (SEARCH[:-1], SEARCH + "0", SEARCH.upper(), "\udc80", "é", "x" * 100_000):
        with pytest.raises(Unauthorized, match="unknown API key") as caught:
            authenticator.authenticate(wrong, 0.0, WALL)
        assert wrong not in str(caught.value)


@pytest.mark.parametrize("credential", [None, ""])
def test_without_a_key_the_answer_says_how_to_send_one(path: Path, credential: str | None) -> None:
    authenticator = opened(path, entry("search", SEARCH))
    with pytest.raises(
        Unauthorized, match=r"^send an API key: `Authorization: Bearer KEY` or `x-api-key: KEY`$"
    ):
        authenticator.authenticate(credential, 0.0, WALL)


def test_a_digest_is_not_a_key(path: Path) -> None:
    authenticator = opened(path, entry("search", SEARCH))
    with pytest.raises(Unauthorized):
        authenticator.authenticate(str(entry("search", SEARCH)["sha256"]), 0.0, WALL)


def test_a_key_is_refused_from_the_moment_it_expires(path: Path) -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    authenticator = opened(path, entry("search", SEARCH, expires="2027-01-01T01:00:00+01:00"))
    assert authenticator.authenticate(SEARCH, 0.0, end - 0.001) is not None
    with pytest.raises(Unauthorized, match="'search' has expired"):
        authenticator.authenticate(SEARCH, 0.0, end)


def test_a_key_is_for_the_models_that_it_names(path: Path) -> None:
    authenticator = opened(
        path, entry("search", SEARCH, models=["minilm"]), entry("ingest", INGEST)
    )
    authenticate(authenticator, SEARCH).may_use("minilm")
    with pytest.raises(Forbidden, match="'search' may not use the model 'e5'"):
        authenticate(authenticator, SEARCH).may_use("e5")
    with pytest.raises(Forbidden):
        authenticate(authenticator, SEARCH).may_use("")
    with pytest.raises(Forbidden) as caught:
        authenticate(authenticator, SEARCH).may_use("x" * 100_000)
    assert len(str(caught.value)) < 200
    authenticate(authenticator, INGEST).may_use("e5")


def test_requests_are_counted_and_the_refusal_says_limit_and_wait(path: Path) -> None:
    authenticator = opened(
        path, entry("search", SEARCH, requests_per_minute=2), entry("ingest", INGEST)
    )
    principal = authenticate(authenticator, SEARCH)
    principal.charge_request(10.0)
    authenticate(authenticator, SEARCH).charge_request(10.0)
    with pytest.raises(RateLimited, match=r"'search' .* 2 requests .* in 30\.1 s") as caught:
        authenticate(authenticator, SEARCH).charge_request(10.0)
    assert caught.value.retry_after_s == pytest.approx(30.0, abs=0.01)
    for _ in range(100):
        authenticate(authenticator, INGEST).charge_request(10.0)
    principal.charge_request(10.0 + caught.value.retry_after_s)


def test_tokens_are_counted_and_the_refusal_says_limit_and_wait(path: Path) -> None:
    principal = authenticate(opened(path, entry("search", SEARCH, tokens_per_minute=600)), SEARCH)
    principal.charge_tokens(500, 0.0)
    match = r"'search' has 100 of its 600 tokens a minute left and this request has 200"
    with pytest.raises(RateLimited, match=match) as caught:
        principal.charge_tokens(200, 0.0)
    assert caught.value.retry_after_s == pytest.approx(10.0, abs=0.01)
    principal.charge_tokens(100, 0.0)
    principal.charge_tokens(0, 0.0)
    principal.charge_request(0.0)


def test_a_request_refused_for_its_tokens_still_counts_as_a_request(path: Path) -> None:
    limits = {"requests_per_minute": 2, "tokens_per_minute": 10}
    principal = authenticate(opened(path, entry("search", SEARCH, **limits)), SEARCH)
    principal.charge_request(0.0)
    principal.charge_tokens(10, 0.0)
    principal.charge_request(0.0)
    with pytest.raises(RateLimited, match="tokens"):
        principal.charge_tokens(10, 0.0)
    with pytest.raises(RateLimited, match="requests"):
        principal.charge_request(0.0)


def test_headers_are_openai_s_and_only_of_the_limits_that_are_set(path: Path) -> None:
    authenticator = opened(
        path,
        entry("search", SEARCH, requests_per_minute=600, tokens_per_minute=60_000),
        entry("ingest", INGEST),
        entry("half", "half", tokens_per_minute=6),
    )
    principal = authenticate(authenticator, SEARCH)
    principal.charge_request(0.0)
    principal.charge_tokens(1200, 0.0)
    assert principal.headers(0.0) == (
        ("x-ratelimit-limit-requests", "600"),
        ("x-ratelimit-remaining-requests", "599"),
        ("x-ratelimit-reset-requests", "100ms"),
        ("x-ratelimit-limit-tokens", "60000"),
        ("x-ratelimit-remaining-tokens", "58800"),
        ("x-ratelimit-reset-tokens", "1.2s"),
    )
    assert authenticate(authenticator, INGEST).headers(0.0) == ()
    assert dict(authenticate(authenticator, "half").headers(0.0)) == {
        "x-ratelimit-limit-tokens": "6",
        "x-ratelimit-remaining-tokens": "6",
        "x-ratelimit-reset-tokens": "0s",
    }


def test_a_new_file_adds_and_removes_keys_without_a_restart(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "secret", "keys.json", listing(entry("search", SEARCH)))
    authenticator = Authenticator.open(AccessSettings(api_keys_file=str(mount.path)))
    assert authenticate(authenticator, SEARCH).name == "search"
    mount.swap(listing(entry("ingest", INGEST)))
    assert authenticate(authenticator, INGEST, 1.0).name == "ingest"
    with pytest.raises(Unauthorized):
        authenticator.authenticate(SEARCH, 1.0, WALL)


def test_a_new_file_leaves_buckets_as_they_are_but_for_limits_that_changed(path: Path) -> None:
    old = {"requests_per_minute": 5, "tokens_per_minute": 100}
    authenticator = opened(path, entry("search", SEARCH, **old))
    in_flight = authenticate(authenticator, SEARCH)
    in_flight.charge_request(0.0)
    in_flight.charge_tokens(100, 0.0)
    path.write_bytes(
        listing(
            entry("ingest", INGEST, **old),
            entry("search", SEARCH, requests_per_minute=7, tokens_per_minute=100, models=["m"]),
        )
    )
    principal = authenticate(authenticator, SEARCH, 1.0)
    with pytest.raises(Forbidden):
        principal.may_use("other")
    assert dict(principal.headers(1.0))["x-ratelimit-remaining-requests"] == "7"
    assert dict(principal.headers(1.0))["x-ratelimit-remaining-tokens"] == "1"
    # A request that was let in before counts into the same bucket.
    in_flight.charge_tokens(1, 1.0)
    assert dict(principal.headers(1.0))["x-ratelimit-remaining-tokens"] == "0"
    assert (
        dict(authenticate(authenticator, INGEST, 1.0).headers(1.0))["x-ratelimit-remaining-tokens"]
        == "100"
    )


def test_a_new_key_under_the_old_name_goes_on_with_its_bucket(path: Path) -> None:
    authenticator = opened(path, entry("search", SEARCH, requests_per_minute=1))
    authenticate(authenticator, SEARCH).charge_request(0.0)
    path.write_bytes(listing(entry("search", INGEST, requests_per_minute=1)))
    with pytest.raises(RateLimited):
        authenticate(authenticator, INGEST, 1.0).charge_request(1.0)


def test_a_limit_may_be_removed_and_added(path: Path) -> None:
    authenticator = opened(path, entry("search", SEARCH, requests_per_minute=1))
    authenticate(authenticator, SEARCH).charge_request(0.0)
    path.write_bytes(listing(entry("search", SEARCH)))
    assert authenticate(authenticator, SEARCH, 1.0).headers(1.0) == ()
    path.write_bytes(listing(entry("search", SEARCH, requests_per_minute=2)))
    assert len(authenticate(authenticator, SEARCH, 2.0).headers(2.0)) == 3


@pytest.mark.parametrize("content", [b"", b"{}", listing(entry("search", SEARCH))[:-5], b"null"])
def test_a_broken_new_file_leaves_all_keys_as_they_were(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    authenticator = opened(path, entry("search", SEARCH, requests_per_minute=10))
    authenticate(authenticator, SEARCH).charge_request(0.0)
    path.write_bytes(content)
    for tick in range(1, 6):
        assert authenticate(authenticator, SEARCH, float(tick)).name == "search"
        for wrong in (None, "", INGEST):
            with pytest.raises(Unauthorized):
                authenticator.authenticate(wrong, float(tick), WALL)
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert f"--api-keys-file {path}" in errors[0]
    path.unlink()
    assert authenticate(authenticator, SEARCH, 6.0).name == "search"


def test_an_empty_list_refuses_all_requests_and_logs_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authenticator = opened(path, entry("search", SEARCH))
    path.write_bytes(b'{"keys": []}')
    for credential in (None, SEARCH):
        with pytest.raises(Unauthorized):
            authenticator.authenticate(credential, 1.0, WALL)
    assert "all requests are refused" in caplog.text


@pytest.mark.parametrize("content", [None, b"", b'{"keys": [{"name": "a", "sha256": "b"}]}'])
def test_a_missing_or_broken_file_at_start_is_a_bad_setting(
    path: Path, content: bytes | None
) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSetting, match=f"^--api-keys-file {path}: ") as caught:
        Authenticator.open(AccessSettings(api_keys_file=str(path)))
    assert "\n" not in str(caught.value)


def test_no_log_and_no_error_holds_a_key_or_a_digest(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    authenticator = opened(path, entry("search", SEARCH, requests_per_minute=1))
    authenticate(authenticator, SEARCH).charge_request(0.0)
    messages: list[str] = []
    path.write_bytes(b'{"keys": [{"%s": 1}]}' % SEARCH.encode())
    for credential in (SEARCH, INGEST, None):
        try:
            authenticate(authenticator, credential or "", 1.0).charge_request(1.0)
        except (RateLimited, Unauthorized) as error:
            messages.append(str(error))
    assert len(messages) == 3
    digest = str(entry("search", SEARCH)["sha256"])
    assert not any(s in "\n".join([*messages, caplog.text]) for s in (SEARCH, INGEST, digest))
    assert "stays in force" in caplog.text


def test_unknown_keys_are_not_remembered(path: Path) -> None:
    authenticator = opened(path, entry("search", SEARCH))
    authenticate(authenticator, SEARCH)

    def held() -> int:
        return sum(sys.getsizeof(part) for part in vars(authenticator).values())

    before = held()
    for n in range(10_000):
        with pytest.raises(Unauthorized):
            authenticator.authenticate(f"guess-{n}", 0.0, WALL)
    assert held() == before
    assert len(authenticator._principals) == 1


def test_ten_thousand_keys_cost_what_one_does(path: Path) -> None:
    """5 µs for a good key and 11 for a guess on the machine on which it was written."""
    keys = [f"key-{n:040d}" for n in range(10_000)]
    authenticator = opened(path, *(entry(f"k{n}", key) for n, key in enumerate(keys)))
    series = len(list(REGISTRY.collect()))
    for key in keys:
        authenticate(authenticator, key)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    seconds = {"known": 1.0, "unknown": 1.0}
    for _ in range(3):  # the best round counts: the machine may be busy
        for kind, least in seconds.items():
            started = time.process_time()
            for key in keys:
                with suppress(Unauthorized):
                    authenticator.authenticate(key if kind == "known" else f"{key}?", 0.0, WALL)
            seconds[kind] = min(least, (time.process_time() - started) / len(keys))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print({kind: f"{spent * 1e6:.1f} µs" for kind, spent in seconds.items()})
    assert max(seconds.values()) < 100e-6
    assert grown < 64 << 10
    assert len(authenticator._principals) == len(keys)
    assert len(list(REGISTRY.collect())) == series

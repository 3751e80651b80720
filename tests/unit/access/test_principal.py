"""What is charged to a key, and when it is refused without reading the body."""

import pytest

from predictor.access import Principal
from predictor.access.keys import ApiKey
from predictor.errors import BatchTooLarge, RateLimited


def principal(requests: int = 0, tokens: int = 0, at_once: int = 0) -> Principal:
    key = ApiKey(
        name="client",
        sha256="",
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        tokens_per_request=at_once,
    )
    return Principal(b"", key)


def remaining(client: Principal, now: float) -> dict[str, str]:
    return {name: value for name, value in client.headers(now) if "remaining" in name}


def test_a_key_without_limits_is_never_refused() -> None:
    client = principal()
    for _ in range(3):
        client.check_limits(0.0)
        client.charge_request(0.0)
        client.charge_tokens(10**9, 0.0)
        client.settle_tokens(5, 10**9, 0.0)


def test_looking_at_the_limits_costs_nothing_while_there_is_something_left() -> None:
    client = principal(requests=2, tokens=10)
    before = remaining(client, 0.0)
    for _ in range(5):
        client.check_limits(0.0)
    assert remaining(client, 0.0) == before


def test_used_up_requests_are_refused_before_the_body() -> None:
    client = principal(requests=2)
    client.charge_request(0.0)
    client.charge_request(0.0)
    with pytest.raises(RateLimited, match="has used up its 2 requests a minute") as caught:
        client.check_limits(0.0)
    client.check_limits(caught.value.retry_after_s)


def test_used_up_tokens_are_refused_before_the_body_and_count_as_a_request() -> None:
    client = principal(requests=10, tokens=60)
    client.charge_tokens(90, 0.0)
    with pytest.raises(RateLimited, match="has none of its 60 tokens a minute left") as caught:
        client.check_limits(0.0)
    assert remaining(client, 0.0)["x-ratelimit-remaining-requests"] == "9"
    assert 30.0 < caught.value.retry_after_s < 32.0  # the debt, and one token
    client.check_limits(caught.value.retry_after_s)


def test_what_was_charged_before_is_settled_without_a_second_refusal() -> None:
    client = principal(tokens=100)
    client.charge_tokens(90, 0.0)
    client.settle_tokens(90, 150, 0.0)
    assert remaining(client, 0.0)["x-ratelimit-remaining-tokens"] == "0"
    with pytest.raises(RateLimited):
        client.check_limits(29.0)
    client.check_limits(31.0)


def test_a_request_of_short_texts_is_charged_when_its_tokens_are_known() -> None:
    client = principal(tokens=100)
    client.settle_tokens(0, 60, 0.0)
    with pytest.raises(RateLimited, match="has 40 of its 100 tokens a minute left and this"):
        client.settle_tokens(0, 60, 0.0)


def test_the_cap_of_a_request_is_named_and_takes_no_tokens() -> None:
    client = principal(tokens=100, at_once=20)
    with pytest.raises(BatchTooLarge, match="has 21 tokens; the API key 'client' may send 20"):
        client.charge_tokens(21, 0.0)
    assert remaining(client, 0.0)["x-ratelimit-remaining-tokens"] == "100"
    with pytest.raises(BatchTooLarge):
        client.settle_tokens(10, 21, 0.0)  # a longer text than its characters made sure

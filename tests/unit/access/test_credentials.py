"""Where the key stands in a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.access.credentials import credential, digest_of
from tests.unit.access.files import SEARCH, digest


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "key"),
    [
        (None, None, None),
        ("Bearer K", None, "K"),
        ("bearer K", None, "K"),
        ("BEARER   K ", None, "K"),
        (None, "K", "K"),
        (None, "  K ", "K"),
        ("Bearer K", "K", "K"),
        ("Bearer of-the-gateway", "K", "K"),
        ("Basic dXNlcjpwYXNz", "K", "K"),
        ("Bearer K", "", "K"),
        ("Bearer K", "  ", "K"),
        ("Basic dXNlcjpwYXNz", None, None),
        ("Bearer", None, None),
        ("Bearer ", None, None),
        ("BearerK", None, None),
        ("K", None, None),
        ("", "", None),
    ],
)
def test_the_key_is_found(
    authorization: str | None, x_api_key: str | None, key: str | None
) -> None:
    assert credential(authorization, x_api_key) == key


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "api_key", "key"),
    [
        (None, None, "K", "K"),
        (None, None, " K ", "K"),
        ("Bearer of-the-gateway", None, "K", "K"),
        (None, "X", "K", "X"),
        (None, " ", "K", "K"),
        ("Bearer K", None, " ", "K"),
        (None, None, "", None),
    ],
)
def test_the_header_of_azure_has_a_key(
    authorization: str | None, x_api_key: str | None, api_key: str | None, key: str | None
) -> None:
    assert credential(authorization, x_api_key, api_key) == key


@given(st.none() | st.text(), st.none() | st.text())
def test_any_headers_give_a_key_or_none(authorization: str | None, x_api_key: str | None) -> None:
    assert credential(authorization, x_api_key) != ""


def test_the_digest_is_what_sha256sum_gives() -> None:
    assert digest_of(SEARCH).hex() == digest(SEARCH)
    assert digest_of("é").hex() == digest("é")


@given(st.text(st.characters(), min_size=1))
def test_any_text_has_a_digest(text: str) -> None:
    assert len(digest_of(text)) == 32


def test_lone_surrogates_have_a_digest() -> None:
    assert digest_of("\udc80") != digest_of("\udc81")

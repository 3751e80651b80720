"""Request ids and priorities from headers."""

import pytest

from predictor.errors import InvalidInput
from predictor.server.headers import lane_of, request_id_of
from predictor.types import Lane

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_clients_id_is_kept() -> None:
    assert request_id_of("order-42", TRACE) == "order-42"


@pytest.mark.parametrize("bad", ["", "a b", "x\ny", "x" * 129, "ü"])
def test_an_id_that_could_break_a_log_line_is_not(bad: str) -> None:
    assert request_id_of(bad, TRACE) == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_without_any_a_new_one_is_made() -> None:
    first, second = request_id_of(None, None), request_id_of(None, "garbage")
    assert first != second
    assert len(first) == len(second) == 32


@pytest.mark.parametrize(
    ("value", "lane"),
    [
        (None, None),
        ("query", Lane.QUERY),
        (" Ingest ", Lane.INGEST),
        ("1", Lane.QUERY),
        ("2", Lane.INGEST),
        ("0", None),
    ],
)
def test_lanes(value: str | None, lane: Lane | None) -> None:
    assert lane_of(value) is lane


def test_an_unknown_lane_is_named() -> None:
    with pytest.raises(InvalidInput, match="header X-Priority: priority 'urgent' is unknown"):
        lane_of("urgent")

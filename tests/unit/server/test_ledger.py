"""What waits is the sum of the accounts, and the limit is a share of the memory limit."""

import pytest
from prometheus_client import REGISTRY

from predictor.errors import TooManyBytes
from predictor.server.ledger import ACCOUNTS, TEXT_FACTOR, Ledger, ledger_of
from predictor.settings import RepositorySettings, Settings, TransportSettings

MIB = 1 << 20


def test_the_accounts_are_added_up_and_published() -> None:
    ledger = Ledger(300)
    ledger.publish()
    for number, account in enumerate(ACCOUNTS):
        assert not ledger.is_full
        setattr(ledger, account, 10 << number)
        value = REGISTRY.get_sample_value("predictor_waiting_bytes", {"account": account})
        assert value == 10 << number
    assert ledger.waiting == 10 + 20 + 40 + 80 + 160
    assert ledger.is_full
    assert REGISTRY.get_sample_value("predictor_waiting_bytes_limit") == 300


def test_texts_are_refused_over_the_limit_except_for_the_only_ones() -> None:
    ledger = Ledger(10 * MIB)
    large = ledger.charge_texts(8 * MIB)
    assert large == ledger.texts == 8 * MIB * TEXT_FACTOR
    with pytest.raises(TooManyBytes, match=r"67108864 bytes .* limit is 10485760"):
        ledger.charge_texts(1)
    ledger.texts -= large
    assert ledger.charge_texts(MIB) == MIB * TEXT_FACTOR


@pytest.mark.parametrize(
    ("share", "limit_mb", "expected"),
    [(0.25, 1024, 256 * MIB), (0.5, 1024, 512 * MIB), (0.01, 64, 16 * MIB)],
)
def test_the_limit_is_a_share_and_has_room_for_two_bodies(
    share: float, limit_mb: int, expected: int
) -> None:
    settings = Settings(
        repository=RepositorySettings(memory_limit_mb=limit_mb),
        transport=TransportSettings(waiting_memory_share=share),
    )
    assert ledger_of(settings).limit == expected


def test_without_any_limit_it_is_a_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictor.repository.memory.cgroup_memory", lambda: None)
    assert ledger_of(Settings()).limit > 64 * MIB

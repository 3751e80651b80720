"""Which versions are chosen, and which one is the default."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import BadSetting
from predictor.repository.policy import (
    Policy,
    Selection,
    parse_policies,
    parse_versions,
    select,
)

ALL = Policy("all")


def latest(count: int) -> Policy:
    return Policy("latest", count)


def specific(*numbers: int) -> Policy:
    return Policy("specific", numbers=frozenset(numbers))


def of(*numbers: int, width: int | None = 8) -> dict[int, int | None]:
    return dict.fromkeys(numbers, width)


# Words


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", latest(1)),
        ("latest:1", latest(1)),
        (" latest:3 ", latest(3)),
        ("all", ALL),
        ("specific:1,3", specific(1, 3)),
        ("specific: 3 , 1", specific(1, 3)),
        ("m=all", latest(1)),
        ("m=all; latest:2", latest(2)),
    ],
)
def test_policies_are_parsed(text: str, policy: Policy) -> None:
    assert parse_policies(text).of("other") == policy


def test_a_model_has_its_own_policy() -> None:
    policies = parse_policies("latest:2; minilm=specific:1,3 ;e5 = all;")
    assert policies.of("minilm") == specific(1, 3)
    assert policies.of("e5") == ALL
    assert policies.of("bge") == latest(2)


@pytest.mark.parametrize(
    "text",
    [
        *("latest", "latest:", "latest:0", "latest:-1", "latest:1,2", "latest:x", "latest:01"),
        *("specific", "specific:", "specific:1,,2", "specific:a", "specific:0", "newest", "all:1"),
        *("m=", "m=latest", "latest:1 all", "LATEST:1"),
    ],
)
def test_a_malformed_policy_is_a_bad_setting(text: str) -> None:
    with pytest.raises(BadSetting, match="--version-policy: "):
        parse_policies(text)


@pytest.mark.parametrize("policy", [latest(1), latest(12), ALL, specific(1, 3)])
def test_a_policy_is_written_as_it_is_read(policy: Policy) -> None:
    assert parse_policies(str(policy)).default == policy


def test_lists_of_versions_are_parsed() -> None:
    assert parse_versions("--pin", "") == frozenset()
    assert parse_versions("--pin", "m:1, other:3,") == {("m", 1), ("other", 3)}


@pytest.mark.parametrize("text", ["m", "m:", ":1", "m:0", "m:01", "m:x", "m:1;n:2"])
def test_a_malformed_list_of_versions_is_a_bad_setting(text: str) -> None:
    with pytest.raises(BadSetting, match=r"--pin: .* is not model:version"):
        parse_versions("--pin", text)


# Choice


@pytest.mark.parametrize(
    ("policy", "available", "chosen", "default"),
    [
        (latest(1), of(), (), None),
        (latest(1), of(1, 2, 10), (10,), 10),
        (latest(2), of(1, 2, 10), (10, 2), 10),
        (latest(5), of(1, 2), (2, 1), 2),
        (ALL, of(), (), None),
        (ALL, of(3, 1, 2), (3, 2, 1), 3),
        (specific(1, 3), of(1, 2, 3, 4), (3, 1), 3),
        (specific(7), of(1, 2), (), None),
    ],
)
def test_the_policy_selects_versions_and_default(
    policy: Policy, available: dict[int, int | None], chosen: tuple[int, ...], default: int | None
) -> None:
    assert select(policy, available) == Selection(chosen, default)


@pytest.mark.parametrize(
    ("policy", "requested", "chosen"),
    [
        (latest(1), 1, (1,)),
        (latest(1), 3, (3,)),
        (latest(2), 2, (2, 1)),
        (latest(2), 1, (1,)),
        (ALL, 2, (3, 2, 1)),
        (specific(1, 3), 3, (3, 1)),
        (specific(3), 1, (3, 1)),
    ],
)
def test_a_requested_version_is_the_default(
    policy: Policy, requested: int, chosen: tuple[int, ...]
) -> None:
    """Under `latest`, versions newer than the one asked for do not count."""
    assert select(policy, of(1, 2, 3), requested=requested) == Selection(chosen, requested)


def test_a_requested_version_may_have_other_dimensions() -> None:
    available: dict[int, int | None] = {1: 8, 2: 16}
    assert select(latest(1), available, requested=2, dimensions=8) == Selection((2,), 2)


def test_a_version_with_other_dimensions_has_to_be_requested() -> None:
    available: dict[int, int | None] = {1: 8, 2: 8, 3: 16, 4: None}
    assert select(latest(2), available, dimensions=8) == Selection((4, 2), 4, frozenset({3}))
    assert select(latest(1), {1: 8, 2: 16}, dimensions=8) == Selection((1,), 1, frozenset({2}))


def test_the_lowest_version_sets_the_dimensions_where_nothing_is_served() -> None:
    assert select(latest(1), {1: 8, 2: 16}) == Selection((1,), 1, frozenset({2}))
    assert select(latest(1), {1: None, 2: 16, 3: 8}) == Selection((2,), 2, frozenset({3}))


def test_only_versions_that_the_policy_would_take_are_withheld() -> None:
    assert select(latest(1), {1: 16, 2: 8}, dimensions=8) == Selection((2,), 2)


def test_all_are_served_whatever_their_dimensions_but_the_default_fits() -> None:
    available: dict[int, int | None] = {1: 8, 2: 16}
    assert select(ALL, available, dimensions=8) == Selection((2, 1), 1)
    assert select(ALL, available, dimensions=16) == Selection((2, 1), 2)
    assert select(ALL, {1: 8}, dimensions=99) == Selection((1,), 1)


@pytest.mark.parametrize(("available", "chosen"), [((1, 3), (1,)), ((3,), ()), ((1, 2, 3), (2,))])
def test_newer_versions_do_not_count_even_if_the_requested_one_was_removed(
    available: tuple[int, ...], chosen: tuple[int, ...]
) -> None:
    """Who went back from 3 to 2 does not want 3 because the files of 2 were removed."""
    assert select(latest(1), of(*available), requested=2).versions == chosen


NUMBERS = st.integers(1, 9)
POLICIES = st.one_of(
    st.just(ALL),
    st.builds(latest, st.integers(1, 4)),
    st.sets(NUMBERS, min_size=1).map(lambda numbers: specific(*numbers)),
)
WIDTHS = st.sampled_from([None, 8, 16])


@given(POLICIES, st.dictionaries(NUMBERS, WIDTHS), st.none() | NUMBERS, WIDTHS)
def test_properties_of_every_selection(
    policy: Policy, available: dict[int, int | None], requested: int | None, width: int | None
) -> None:
    chosen = select(policy, available, requested=requested, dimensions=width)
    assert list(chosen.versions) == sorted(set(chosen.versions), reverse=True)
    assert set(chosen.versions) <= set(available)
    assert chosen.withheld <= set(available) - set(chosen.versions)
    assert (chosen.default in chosen.versions) if chosen.versions else (chosen.default is None)
    if requested in available:
        assert chosen.default == requested
    elif policy.kind == "latest":
        widths = {available[number] for number in chosen.versions} - {None}
        assert len(widths) <= 1
        assert len(chosen.versions) <= policy.count

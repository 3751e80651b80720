"""What becomes of the versions of a mirror: published, kept, removed, in conflict."""

from hypothesis import given
from hypothesis import strategies as st

from predictor.storage.plan import Offer, Plan, plan

A, B, C = "content-a", "content-b", "content-c"


def test_an_empty_mirror_gets_everything() -> None:
    offers = [Offer("minilm", 3, A), Offer("e5", None, B), Offer("", 1, C)]
    expected = ((offers[0], 3), (offers[1], 1), (offers[2], 1))
    assert plan(offers, {}) == Plan(publish=expected)


def test_the_same_again_changes_nothing() -> None:
    mirrored = {("minilm", 3): A, ("e5", 1): B}
    done = plan([Offer("minilm", 3, A), Offer("e5", None, B)], mirrored)
    assert done == Plan(unchanged=(("minilm", 3), ("e5", 1)))


def test_a_number_keeps_its_content() -> None:
    assert plan([Offer("", 3, B)], {("", 3): A}) == Plan(conflicts=(("", 3),))


def test_a_version_that_is_gone_from_the_store_is_removed() -> None:
    mirrored = {("", 1): A, ("", 2): B, ("minilm", 1): C}
    assert plan([Offer("", 2, B)], mirrored) == Plan(
        unchanged=(("", 2),), remove=(("", 1), ("minilm", 1))
    )


def test_an_incomplete_version_is_neither_published_nor_removes_another() -> None:
    assert plan([Offer("", 2, None)], {}) == Plan()
    assert plan([Offer("", 2, None)], {("", 2): A}) == Plan()
    assert plan([Offer("e5", None, None)], {("e5", 2): A, ("e5", 1): B}) == Plan()


def test_a_model_without_numbers_gets_the_next_one() -> None:
    changed = Offer("e5", None, B)
    assert plan([changed], {("e5", 1): A}) == Plan(publish=((changed, 2),))


def test_of_a_model_without_numbers_two_versions_stay() -> None:
    changed = Offer("", None, C)
    mirrored = {("", 4): A, ("", 5): B}
    assert plan([changed], mirrored) == Plan(publish=((changed, 6),), remove=(("", 4),))


def test_the_way_back_is_a_new_number_too() -> None:
    """The newest number is the one that is served, so old content needs a new one."""
    back = Offer("", None, A)
    assert plan([back], {("", 1): A, ("", 2): B}) == Plan(publish=((back, 3),), remove=(("", 1),))


CONTENTS = st.sampled_from([A, B, C])
NUMBERS = st.integers(1, 4)
MODELS = st.sampled_from(["", "e5", "minilm"])
OFFERS = st.dictionaries(
    st.tuples(MODELS, st.none() | NUMBERS), st.none() | CONTENTS, max_size=6
).map(
    lambda contents: [
        Offer(model, number, content) for (model, number), content in contents.items()
    ]
)


@given(OFFERS, st.dictionaries(st.tuples(MODELS, NUMBERS), CONTENTS))
def test_a_published_version_is_never_replaced(
    offers: list[Offer], mirrored: dict[tuple[str, int], str]
) -> None:
    done = plan(offers, mirrored)
    published = {(offer.model, number) for offer, number in done.publish}
    assert not published & set(mirrored)
    assert not set(done.remove) & {*done.unchanged, *done.conflicts, *published}
    assert all(offer.content is not None for offer, _ in done.publish)
    assert {*done.remove, *done.unchanged, *done.conflicts} <= set(mirrored)

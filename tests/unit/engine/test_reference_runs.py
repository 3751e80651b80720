"""The row that stands for a text of full length, and the short one that is padded beside it."""

import pytest

from predictor.engine.reference_runs import LONGEST_CHECKED, full_and_short

ROWS = [[1, 9], [1, 5, 6, 7, 9], [1, 5, 9]]


@pytest.mark.parametrize("max_length", [5, 6, 8, 64, 512, 8192])
def test_the_longest_row_is_repeated_up_to_the_length(max_length: int) -> None:
    (full, short), index = full_and_short(ROWS, max_length)
    assert len(full) == min(max_length, LONGEST_CHECKED)
    assert full[0] == 1
    assert full[-1] == 9
    assert set(full[1:-1]) == {5, 6, 7}
    assert index == 0
    assert short == ROWS[index]


def test_rows_without_anything_to_repeat_are_left_as_they_are() -> None:
    (full, short), index = full_and_short([[1, 9]], 64)
    assert full == short == [1, 9]
    assert index == 0

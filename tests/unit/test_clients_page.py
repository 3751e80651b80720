"""The page of clients keeps the rows of those that did not run."""

import pytest

from tests.clients.environments import Family, read_families
from tests.clients.page import PAGE, Check, Result, with_results

GOOD = Check("a batch", True, "", False)
BAD = Check("dimensions", False, "384 | numbers `instead` of 64", False)
REFUSAL = Check("wrong key", True, "the API key is not known", True)
EMPTY = """<!-- results: made by hack/clients.sh -->
<!-- /results -->
<!-- errors: made by hack/clients.sh -->
<!-- /errors -->
"""


def test_rows_of_others_stay() -> None:
    page = with_results(EMPTY, [Result("a", "1", (GOOD, REFUSAL)), Result("b", "2", (GOOD, BAD))])
    page = with_results(page, [Result("a", "1", (BAD, REFUSAL))])
    assert "| a | 1 | wrong key | dimensions: `384 \\| numbers 'instead' of 64` |" in page
    assert "| b | 2 | a batch | dimensions:" in page
    assert page.count("| a 1 | wrong key | `the API key is not known` |") == 1


def test_writing_twice_changes_nothing() -> None:
    page = with_results(EMPTY, [Result("a", "1", (GOOD, REFUSAL))])
    assert with_results(page, [Result("a", "1", (GOOD, REFUSAL))]) == page


def test_the_page_has_its_marks() -> None:
    page = PAGE.read_text("utf-8")
    assert with_results(page, []) == page


@pytest.mark.parametrize("family", read_families().values(), ids=lambda family: family.name)
def test_every_family_has_a_scenario_and_exact_versions(family: Family) -> None:
    assert family.scenario.is_file()
    assert all("==" in package for package in family.packages)
    assert all("@" in package for package in family.npm)

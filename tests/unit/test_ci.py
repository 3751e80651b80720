""".ci/run runs every test, and its tiers say how long they take."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIERS = re.findall(r"^tier (\d+) (.+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
MOST_MINUTES = 45
FOLDERS = {
    f"tests/{path.relative_to(ROOT).parts[1]}" for path in (ROOT / "tests").glob("*/**/test_*.py")
}


def test_the_tiers_name_every_folder_with_tests_and_no_other() -> None:
    assert set(re.findall(r"tests/\w+", " ".join(command for _, command in TIERS))) == FOLDERS


def test_the_static_checks_come_first() -> None:
    assert TIERS[0][1] == "./hack/verify.sh"


def test_the_tiers_state_no_more_minutes_than_a_run_may_take() -> None:
    assert 0 < sum(int(minutes) for minutes, _ in TIERS) <= MOST_MINUTES

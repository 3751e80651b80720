"""Which tests share a process, and how many processes there are."""

import pytest

from tests.distribution import group_of, processes_for, rank_of

DEFAULT = "not models and not browser and not cluster and not e2e"


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/unit/test_ci.py::test_a", "tests/unit/test_ci.py"),
        ("tests/integration/test_ask.py::test_a[b::c]", "tests/integration/test_ask.py"),
        ("tests/contract/admin/test_port.py::test_a", "tests/contract/admin"),
        ("tests/contract/test_page.py::test_a", "tests/contract/test_page.py"),
    ],
)
def test_a_module_shares_a_process_and_so_does_a_folder_with_shared_servers(
    nodeid: str, group: str
) -> None:
    assert group_of(nodeid) == group


def test_folders_that_wait_for_servers_come_before_those_that_compute() -> None:
    folders = ["unit", "image", "charts", "elsewhere", "integration"]
    ranked = sorted(folders, key=lambda folder: rank_of(f"tests/{folder}/test_a.py::test_b"))
    assert ranked == ["image", "integration", "charts", "unit", "elsewhere"]


@pytest.mark.parametrize(
    ("marks", "cores", "processes"),
    [
        (DEFAULT, 2, 3),
        ("", 2, 3),
        ("not image", 64, 4),
        (DEFAULT, 1, 0),
        ("cluster and not e2e", 2, 0),
        ("cluster or e2e", 2, 0),
        ("models", 2, 0),
        ("browser", 2, 0),
    ],
)
def test_there_is_a_process_more_than_cores_unless_the_tests_want_the_machine(
    marks: str, cores: int, processes: int
) -> None:
    assert processes_for(marks, cores) == processes

"""How the tests are spread over processes (`-n auto`, which `hack/test.sh` gives; pytest-xdist).

A module stays in one process, because its fixtures start servers and export models. So does a
folder whose modules share such fixtures. What wants the machine for itself runs in one process.
"""

import os
import re
from typing import Any

import pytest

# More processes than this start more servers at once than they save time.
MOST_PROCESSES = 4
# Marks of tests that want one node, one browser or the whole machine.
ALONE = {"browser", "cluster", "e2e", "models"}
# Folders whose modules share servers or the image.
TOGETHER = ("tests/contract/admin", "tests/image")
# Folders in the order in which they start: the short modules of the last ones even out the end.
ORDER = (
    "tests/image",
    "tests/attack",
    "tests/integration",
    "tests/contract",
    "tests/charts",
    "tests/unit",
)


def group_of(nodeid: str) -> str:
    """The name of what runs in one process: a module, or a folder."""
    module = nodeid.partition("::")[0]
    folders = [name for name in TOGETHER if module.startswith(f"{name}/")]
    return folders[0] if folders else module


def rank_of(nodeid: str) -> int:
    """Where a test comes; folders that are not listed come last."""
    ranks = [rank for rank, folder in enumerate(ORDER) if nodeid.startswith(f"{folder}/")]
    return ranks[0] if ranks else len(ORDER)


def processes_for(marks: str, cores: int) -> int:
    """How many processes run the tests that `-m` selects; 0 is the process of pytest itself."""
    selected = {word for negated, word in re.findall(r"(not )?(\w+)", marks) if not negated}
    if selected & ALONE or cores == 1:
        return 0
    # One more than cores: about a third of the time of the integration tests is spent waiting.
    return min(cores + 1, MOST_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: rank_of(item.nodeid))


# The hooks of pytest-xdist, which pytest does not know where it is not installed.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return processes_for(config.option.markexpr, len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)

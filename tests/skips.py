"""No test is skipped unnoticed: where CI is set, a skip whose reason is not listed fails the run.

Listed is what no package of Debian and no line of `.ci/run` can change: the machine's rights, its
hardware, and what is not part of this repository. Whatever can be installed is not listed.
"""

import os
import re
from collections.abc import Generator

import pytest

# A regular expression that matches the whole reason, and why such a skip is right in CI.
ALLOWED = {
    r"(torch, transformers or )?sentence-transformers is not installed(; .*)?": (
        "torch is never installed; the reference vectors are kept in the repository"
    ),
    r"no disk can be mounted here": "the container has no right to mount",
    r"no memory cgroup can be made: .*": "the container has no right to make cgroups",
    r"root of a namespace without other users: .*": "the container has no second user",
    r"not installed: .*buildah.*": "images are built where the machine has buildah",
    r"needs root, to build with buildah and to mount what it built": "images are built by root",
    r"no base image: .*": "no registry gives the base image of the Dockerfile",
    r"no API server: .*": "the script that starts a Kubernetes is not part of this repository",
    r"no history: .*": (
        "a shallow clone has no earlier commits; test_upgrade.py has what their values held"
    ),
    r"no test cluster: .*": "the script that starts a Kubernetes is not part of this repository",
    r"a test cluster's node needs root": "a node is started by root",
    r"no buildah to build the image with .*": "images are built where the machine has buildah",
    r".*: the package index does not give .*": "the index decides which models it gives",
    r"no npm to fetch axe-core with": "npm is used where the machine has it",
    r"npm does not give axe-core .*": "the registry decides which packages it gives",
}


def is_allowed(reason: str) -> bool:
    return any(re.fullmatch(pattern, reason, re.DOTALL) for pattern in ALLOWED)


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why a test or a module was skipped; None if it was not."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    assert isinstance(report.longrepr, tuple)
    return str(report.longrepr[2]).removeprefix("Skipped: ")


class SkipCheck:
    """Collects the skips that are not allowed, and fails the run for them at its end."""

    def __init__(self) -> None:
        self._refused: dict[str, str] = {}

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = reason_of(report)
        if reason is not None and not is_allowed(reason):
            self._refused.setdefault(reason, report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        if self._refused and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._refused:
            return
        terminalreporter.section("skipped although CI is set", red=True)
        for reason, nodeid in self._refused.items():
            terminalreporter.line(f"{nodeid}: {reason}")
        terminalreporter.line(
            "Install in .ci/run what these tests want, or list the reason in tests/skips.py."
        )


def pytest_configure(config: pytest.Config) -> None:
    """The process that reports sees the skips of all worker processes."""
    if os.environ.get("CI") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipCheck(), "skip-check")

"""A skip is allowed in CI by its reason; any other fails the run and is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import is_allowed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "reason",
    [
        "sentence-transformers is not installed; the kept vectors are used as they are",
        "torch, transformers or sentence-transformers is not installed",
        "not installed: buildah, unshare",
        "models.sh: the package index does not give sre-embedding-model",
    ],
)
def test_reasons_that_no_package_changes_are_allowed(reason: str) -> None:
    assert is_allowed(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "no redis-server or valkey-server in the PATH",
        "no chromium and no chromedriver (Debian: apt-get install chromium chromium-driver)",
        "no promtool: hack/tools.sh could not fetch it (Debian: prometheus)",
        "curl is not installed",
        "",
    ],
)
def test_reasons_that_an_installed_package_changes_are_refused(reason: str) -> None:
    assert not is_allowed(reason)


SKIPPING = """
import pytest
{module}
@pytest.mark.skipif({condition}, reason={reason!r})
def test_skips(): pass
def test_passes(): pass
"""


def run(folder: Path, *, reason: str, ci: str, module: str = "", condition: str = "True") -> str:
    """What pytest prints about a file with that skip; its exit code follows in the last line."""
    code = SKIPPING.format(module=module, reason=reason, condition=condition)
    (folder / "test_skipping.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.skips", "-p", "no:cacheprovider", "-q", "."],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return f"{done.stdout}\nexit {done.returncode}"


def test_a_skip_that_is_not_listed_fails_the_run_in_ci(tmp_path: Path) -> None:
    printed = run(tmp_path, reason="no redis-server", ci="1")
    assert printed.endswith("exit 1")
    assert "test_skipping.py::test_skips: no redis-server\n" in printed
    assert "list the reason in tests/skips.py" in printed


def test_a_module_that_is_skipped_as_a_whole_counts_too(tmp_path: Path) -> None:
    module = "pytest.skip('no selenium', allow_module_level=True)"
    printed = run(tmp_path, reason="unused", ci="1", module=module)
    assert printed.endswith("exit 1")
    assert "test_skipping.py: no selenium\n" in printed


@pytest.mark.parametrize(
    ("reason", "ci"), [("no redis-server", ""), ("no disk can be mounted here", "1")]
)
def test_elsewhere_and_with_a_listed_reason_a_skip_is_a_skip(
    tmp_path: Path, reason: str, ci: str
) -> None:
    printed = run(tmp_path, reason=reason, ci=ci)
    assert printed.endswith("exit 0")
    assert "1 passed, 1 skipped" in printed

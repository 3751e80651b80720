"""axe-core, which knows what makes a page hard to use; fetched once, pinned by its digest."""

import hashlib
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.browser.chromium import Browser
from tests.deadlines import DEADLINE_S

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
CACHE = Path(__file__).parents[2] / f".cache/tools/axe-core-{VERSION}.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def why_not() -> str:
    """Fetch it where it is not there; the reason why it cannot be had, or nothing."""
    if CACHE.is_file():
        return ""
    if (npm := shutil.which("npm")) is None:
        return "no npm to fetch axe-core with"
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(
            [npm, "pack", "--silent", f"axe-core@{VERSION}"],
            cwd=CACHE.parent, check=True, capture_output=True, timeout=DEADLINE_S,
        )  # fmt: skip
    except subprocess.SubprocessError:
        return f"npm does not give axe-core {VERSION}"
    package = CACHE.parent / f"axe-core-{VERSION}.tgz"
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        content = member.read()
    package.unlink()
    if hashlib.sha256(content).hexdigest() != SHA256:
        return f"axe-core {VERSION} is not the file that is pinned"
    CACHE.write_bytes(content)
    return ""


def violations(browser: Browser) -> list[str]:
    """What is wrong with the page as it is now: one line an element."""
    browser.script(CACHE.read_text())
    rules: Any = browser.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']})"
        ".then(result => done(result.violations), error => done([{id: String(error), nodes: []}]))",
        RULES,
    )
    return [
        f"{rule['id']}: {node['html'][:120]}: {node.get('failureSummary', '')}"
        for rule in rules
        for node in rule["nodes"] or [{"html": ""}]
    ]

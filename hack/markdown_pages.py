"""The Markdown pages of the repository: their lines, their links, and pages made from the code.

Imported by hack/check_readme.py and by the scripts that make a page.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("predictor", "hack", "tests", "charts", "manifests")

SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"#{1,6} (.*)")
NO_SLUG = re.compile(r"[^\w\- ]")

Faults = Iterator[tuple[int, str]]


class Line(NamedTuple):
    """A line of a page; `fence` is the language of the code block it stands in, if any."""

    number: int
    text: str
    fence: str | None

    def code(self) -> list[str]:
        return SPAN.findall(self.text) if self.fence is None else [self.text]

    def prose(self) -> str:
        return SPAN.sub("", self.text) if self.fence is None else ""


def page_names() -> list[str]:
    """Every Markdown page of the repository, relative to its root."""
    pages = [*ROOT.glob("*.md")]
    for folder in FOLDERS:
        pages += (ROOT / folder).rglob("*.md")
    return sorted(str(page.relative_to(ROOT)) for page in pages)


def read(text: str) -> list[Line]:
    """The lines of a page but for the marks of its code blocks.

    A command that goes on after a backslash is one line: its first word says whose flags it has.
    """
    lines: list[Line] = []
    fence: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = line.strip("` ") if fence is None else None
        elif fence is not None and lines and lines[-1].text.endswith("\\"):
            before = lines.pop()
            lines.append(Line(before.number, f"{before.text[:-1]} {line.strip()}", fence))
        else:
            lines.append(Line(number, line, fence))
    return lines


def anchors(lines: list[Line]) -> set[str]:
    """What GitHub makes of the headings; one that comes again gets a number."""
    known: set[str] = set()
    for line in lines:
        heading = HEADING.match(line.text) if line.fence is None else None
        if heading:
            slug = NO_SLUG.sub("", heading[1].strip().lower()).replace(" ", "-")
            names = [slug, *(f"{slug}-{count}" for count in range(1, 100))]
            known.add(next(name for name in names if name not in known))
    return known


def check_links(lines: list[Line], page: Path) -> Faults:
    """Every relative link leads to a file of the repository and, with `#`, to a heading in it."""
    for line in lines:
        for target in LINK.findall(line.prose()):
            local, _, anchor = target.partition("#")
            if ":" in local:
                continue
            path = (page.parent / local).resolve()
            if not path.is_relative_to(ROOT) or not path.exists():
                yield line.number, f"the link to {target} leads nowhere"
                continue
            if anchor:
                target_lines = read(path.read_text("utf-8")) if local else lines
                if anchor not in anchors(target_lines):
                    yield line.number, f"the link to {target}: there is no such heading"


class Section(NamedTuple):
    """The lines between which a script writes a part of a page."""

    begin: str
    end: str


def with_section(page: str, section: Section, text: str) -> str:
    """The page with its section replaced. Raises ValueError where its marks are missing."""
    before, begin, rest = page.partition(section.begin)
    _, end, after = rest.partition(section.end)
    if not begin or not end:
        raise ValueError(f"the lines {section.begin} and {section.end} are missing")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def made_page(name: str, text: str, script: str, about: str | None) -> int:
    """The command line of a script that makes a page; its exit code.

    Args:
        name: of the page, relative to the root of the repository.
        about: what `--help` says.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--check", action="store_true", help="write nothing, report a stale page")
    check = parser.parse_args().check
    page = ROOT / name
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return 0
    if check:
        sys.stderr.write(f"{name} is stale: run hack/{script}\n")
        return 1
    page.parent.mkdir(exist_ok=True)
    page.write_text(text, encoding="utf-8")
    return 0

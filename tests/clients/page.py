"""The tables of predictor/docs/clients.md: what works with each client, and what a user reads."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.scripts import load

pages = load("markdown_pages")

PAGE = pages.ROOT / "predictor/docs/clients.md"
RESULTS = pages.Section("<!-- results: made by hack/clients.sh -->", "<!-- /results -->")
ERRORS = pages.Section("<!-- errors: made by hack/clients.sh -->", "<!-- /errors -->")
RESULT_HEAD = ("Client", "Version", "Works", "Does not, and why")
ERROR_HEAD = ("Client", "Request", "What the user reads")
LONGEST = 300


@dataclass(frozen=True)
class Check:
    """One thing that a user does with the client; a refusal is right when its text helps."""

    what: str
    good: bool
    detail: str
    refusal: bool


@dataclass(frozen=True)
class Result:
    """The checks of a client at a version."""

    client: str
    version: str
    checks: tuple[Check, ...]

    @property
    def label(self) -> str:
        return f"{self.client} {self.version}"

    @property
    def failures(self) -> list[Check]:
        return [check for check in self.checks if not check.good]


def cell(text: str) -> str:
    """The text as one cell, as it stands: neither Markdown nor HTML."""
    text = re.sub(r"\s+", " ", text.replace("`", "'")).strip()
    if len(text) > LONGEST:
        text = f"{text[:LONGEST].rstrip()} …"
    return text.replace("|", "\\|")


def result_row(result: Result) -> tuple[str, ...]:
    works = ", ".join(check.what for check in result.checks if check.good)
    failures = "; ".join(
        f"{check.what}: `{cell(check.detail)}`" if check.detail else check.what
        for check in result.failures
    )
    return cell(result.client), result.version, works or "nothing", failures or "-"


def error_rows(result: Result) -> list[tuple[str, ...]]:
    return [
        (cell(result.label), check.what, f"`{cell(check.detail)}`")
        for check in result.checks
        if check.refusal
    ]


def merged(
    page: str, section: tuple[str, str], head: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """The page with these rows in the section's table; rows of other clients stay."""
    new = [f"| {' | '.join(row)} |" for row in rows]
    anew = {key(line, head) for line in new}
    kept = [line for line in table_lines(page, section) if key(line, head) not in anew]
    table = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    text = "\n".join([*table, *sorted([*kept, *new], key=lambda line: key(line, head))])
    return str(pages.with_section(page, section, text))


def table_lines(page: str, section: tuple[str, str]) -> list[str]:
    begin, end = section
    inside = page.partition(begin)[2].partition(end)[0]
    return [line for line in inside.splitlines() if line.startswith("| ")][2:]


def key(line: str, head: Sequence[str]) -> str:
    """The client and its version, however many cells hold them."""
    cells = [text.strip() for text in line.split("|")[1:]]
    return cells[0] if head is ERROR_HEAD else f"{cells[0]} {cells[1]}"


def with_results(page: str, results: Sequence[Result]) -> str:
    page = merged(page, RESULTS, RESULT_HEAD, map(result_row, results))
    rows = [row for result in results for row in error_rows(result)]
    return merged(page, ERRORS, ERROR_HEAD, rows)

"""A plain model directory as text and as one JSON object: what it is and how it would be served."""

from collections.abc import Iterable
from typing import Any

from predictor.cli.reports.table import size, table
from predictor.repository import FolderSurvey


def as_json(folder: FolderSurvey) -> dict[str, Any]:
    verdict = folder.verdict
    return {
        "folder": str(folder.folder),
        "kind": verdict.kind.value if verdict else None,
        "sign": verdict.sign if verdict else None,
        "files": folder.present,
        "missing": folder.missing,
        "facts": folder.facts,
        "assumed": list(folder.assumed),
        "unread": list(folder.unread),
        "problems": folder.problems,
        "needed_bytes": folder.needed_bytes,
        "command": folder.command,
    }


def as_text(folder: FolderSurvey) -> str:
    verdict = folder.verdict
    what = f"{verdict.kind} ({verdict.sign})" if verdict else "not a readable model"
    parts = [f"{folder.folder}: a directory, not a bundle: {what}"]
    if folder.present:
        rows = [["file", "size"], *([name, size(count)] for name, count in folder.present.items())]
        parts.append(table(rows, left=(0,)))
    if folder.facts:
        parts.append(table(list(folder.facts.items()), left=(0, 1)))
    for title, lines in (
        ("missing", folder.missing),
        ("assumed, because the directory does not say it", folder.assumed),
        ("keys that are not read", folder.unread),
        ("why it cannot be served", folder.problems),
    ):
        if lines:
            parts.append(_listed(title, lines))
    if folder.needed_bytes is not None:
        parts.append(f"memory: about {size(folder.needed_bytes)}")
    parts.append(_last(folder))
    return "\n\n".join(parts)


def _listed(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _last(folder: FolderSurvey) -> str:
    if folder.command is None:
        return "no command makes it servable"
    title = "this makes it servable" if folder.problems else "this serves it"
    return f"{title}:\n  {folder.command}"

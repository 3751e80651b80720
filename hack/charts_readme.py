"""Write the values of each chart into its README.md and its schema, out of values.yaml.

A value is documented once, by the comment `# -- text` above it. A value that was renamed stays in
the schema as `deprecated`, so that a template can refuse it by its new name. The sections go into
files/sections.txt, by which a template notices the values of an earlier chart. `--check` writes
nothing: one line a fault (a value without text, a value that the schema does not know, a stale
file), exit code 1 if there is one. Run by hack/verify.sh, from any folder.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from markdown_pages import Section, with_section

ROOT = Path(__file__).resolve().parents[1]
CHARTS = ("embedding-runtime", "embedding-model")
SECTION = Section("<!-- values: made by hack/charts_readme.py -->", "<!-- /values -->")
KEY = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):")
TEXT = re.compile(r" *# -- (?P<text>.+)")


def documented(source: str) -> dict[str, str]:
    """The text of every documented value of a values.yaml, by its path, in the file's order."""
    texts: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    pending = ""
    for line in source.splitlines():
        if match := TEXT.fullmatch(line):
            pending = match["text"]
        elif match := KEY.match(line):
            indent = len(match["indent"])
            path = [(depth, key) for depth, key in path if depth < indent]
            path.append((indent, match["key"]))
            if pending:
                texts[".".join(key for _, key in path)] = pending
            pending = ""
    return texts


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every value of a schema that holds no named values itself, but for Helm's own `global`.

    Deprecated values are left out: they are there to be refused.
    """
    for name, part in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        if "properties" in part and name != "resources":
            yield from leaves(part, here)
        elif here != "global" and not part.get("deprecated"):
            yield here, part


def sections(paths: Iterable[str]) -> list[str]:
    """The maps that hold the documented values, the outer ones first."""
    names: dict[str, None] = {}
    for path in paths:
        keys = path.split(".")
        names |= dict.fromkeys(".".join(keys[:depth]) for depth in range(1, len(keys)))
    return list(names)


def default(values: Any, path: str) -> Any:
    """The value at a path. Raises KeyError where there is none."""
    for key in path.split("."):
        values = values[key]
    return values


def table(texts: dict[str, str], values: Any) -> str:
    rows = ["| value | default | what it is |", "| --- | --- | --- |"]
    for path, text in texts.items():
        shown = json.dumps(default(values, path), ensure_ascii=False).replace("|", "\\|")
        rows.append(f"| `{path}` | `{shown}` | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def faults(texts: dict[str, str], values: Any, known: dict[str, dict[str, Any]]) -> Iterator[str]:
    for path in texts.keys() - known.keys():
        yield f"values.schema.json does not know {path}"
    for path in known.keys() - texts.keys():
        yield f"values.yaml has no `# -- text` above {path}"
    for path in texts:
        try:
            default(values, path)
        except (KeyError, TypeError):
            yield f"values.yaml has a text above {path} and no value"


def made(chart: Path) -> tuple[list[str], dict[Path, str]]:
    """The faults of a chart and, where there are none, what its made files should hold."""
    source = (chart / "values.yaml").read_text(encoding="utf-8")
    texts, values = documented(source), yaml.safe_load(source)
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    known = dict(leaves(schema))
    messages = sorted(faults(texts, values, known))
    if messages:
        return messages, {}
    for path, part in known.items():
        rules = {key: rule for key, rule in part.items() if key != "description"}
        part.clear()
        part.update({"description": texts[path], **rules})
    readme = (chart / "README.md").read_text(encoding="utf-8")
    return [], {
        chart / "README.md": with_section(readme, SECTION, table(texts, values)),
        chart / "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        chart / "files/sections.txt": "".join(f"{path}\n" for path in sections(texts)),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, report what is stale")
    check = parser.parse_args(arguments).check
    bad = False
    for name in CHARTS:
        messages, files = made(ROOT / "charts" / name)
        for path, text in files.items():
            if path.read_text(encoding="utf-8") == text:
                continue
            if check:
                messages.append(f"{path.name} is stale: run hack/charts_readme.py")
            else:
                path.write_text(text, encoding="utf-8")
        for fault in messages:
            sys.stderr.write(f"charts/{name}: {fault}\n")
        bad = bad or bool(messages)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())

"""Write the values of each chart into its README.md and its schema, out of values.yaml.

A value is documented once, by the comment `# -- text` above it. `--check` writes nothing: one line
a fault (a value without text, a value that the schema does not know, a stale file), exit code 1 if
there is one. Run by hack/verify.sh, from any folder.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHARTS = ("embedding-runtime", "embedding-model")
BEGIN, END = "<!-- values: made by hack/charts_readme.py -->", "<!-- /values -->"
KEY = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):")
TEXT = re.compile(r" *# -- (?P<text>.+)")


def documented(source: str) -> dict[str, str]:
    """The text of every documented value of a values.yaml, by its path, in the file's order."""
    texts: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    pending = ""
    for line in source.splitlines():
        if found := TEXT.fullmatch(line):
            pending = found["text"]
        elif found := KEY.match(line):
            indent = len(found["indent"])
            path = [(depth, key) for depth, key in path if depth < indent]
            path.append((indent, found["key"]))
            if pending:
                texts[".".join(key for _, key in path)] = pending
            pending = ""
    return texts


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every value of a schema that holds no named values itself, but for Helm's own `global`."""
    for name, below in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        if "properties" in below and name != "resources":
            yield from leaves(below, here)
        elif here != "global":
            yield here, below


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


def with_table(readme: str, rows: str) -> str:
    """The README with its table replaced. Raises ValueError where its marks are missing."""
    before, mark, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the lines {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}"


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
    found = sorted(faults(texts, values, known))
    if found:
        return found, {}
    for path, part in known.items():
        rules = {key: rule for key, rule in part.items() if key != "description"}
        part.clear()
        part.update({"description": texts[path], **rules})
    readme = (chart / "README.md").read_text(encoding="utf-8")
    return [], {
        chart / "README.md": with_table(readme, table(texts, values)),
        chart / "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, report what is stale")
    check = parser.parse_args(arguments).check
    bad = False
    for name in CHARTS:
        found, files = made(ROOT / "charts" / name)
        for path, text in files.items():
            if path.read_text(encoding="utf-8") == text:
                continue
            if check:
                found.append(f"{path.name} is stale: run hack/charts_readme.py")
            else:
                path.write_text(text, encoding="utf-8")
        for fault in found:
            sys.stderr.write(f"charts/{name}: {fault}\n")
        bad = bad or bool(found)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())

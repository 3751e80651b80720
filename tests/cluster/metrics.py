"""Names of metrics: what the server exports, and what the charts ask for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import kit

# Not what rules record, which has colons.
NAME = re.compile(r"(?<![:\w])predictor_[a-z0-9_]+(?![:\w])")
# Fields of a rule or of a dashboard whose text is PromQL.
QUERIES = {"expr", "query", "definition"}
FILES = ("charts/*/files/**/*.yaml", "charts/*/files/**/*.json")
# A scrape may know the name and have no sample: without a GPU, before the traffic is judged, of a
# controller that has no rollout.
MAY_BE_EMPTY = ("predictor_gpu_", "predictor_drift_", "predictor_rollout_")
# Autoscalers name them in plain text.
PLAIN = ("charts/*/templates/**/*.yaml", "charts/*/values.yaml")


def samples(exposition: str) -> set[str]:
    """Names of all samples of a scrape: those that a query can ask for."""
    lines = (line for line in exposition.splitlines() if line and not line.startswith("#"))
    return {re.split(r"[{ ]", line, maxsplit=1)[0] for line in lines}


def families(exposition: str) -> set[str]:
    """Names of the metrics, as a text speaks of them: a histogram has no sample of its name."""
    return {line.split()[2] for line in exposition.splitlines() if line.startswith("# TYPE ")}


def declared(exposition: str) -> set[str]:
    """Names of samples that may be missing from a scrape that knows their metric."""
    return {name for name in families(exposition) if name.startswith(MAY_BE_EMPTY)}


def queried() -> set[str]:
    """Metrics of ours in the queries of rules and dashboards, and in autoscalers."""
    queries = [text for path in _files(FILES) for text in _queries(_parsed(path))]
    return _names("\n".join([*queries, *(_text(path) for path in _files(PLAIN))]))


def mentioned() -> set[str]:
    """Metrics of ours anywhere in the charts, texts for people included."""
    return _names("\n".join(_text(path) for path in _files((*FILES, *PLAIN))))


def _files(patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in kit.ROOT.glob(pattern)})


def _parsed(path: Path) -> Any:
    return json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(_text(path))


def _queries(node: Any) -> Iterator[str]:
    """Every query in a tree of maps and lists."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in QUERIES and isinstance(value, str):
                yield value
            else:
                yield from _queries(value)
    elif isinstance(node, list):
        for item in node:
            yield from _queries(item)


def _text(path: Path) -> str:
    """Without comments."""
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _names(text: str) -> set[str]:
    return set(NAME.findall(text))

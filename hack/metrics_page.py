"""Write predictor/docs/metrics.md out of the metrics of the server and of the rollout controller.

`--check` writes nothing: one line, and exit code 1, if the page is stale. Run by hack/verify.sh,
from any folder.
"""

import sys
from types import ModuleType

from markdown_pages import made_page
from prometheus_client.metrics import MetricWrapperBase

from predictor import metrics
from predictor.controller import metrics as rollouts

HEAD = """\
# Metrics

<!-- Made by hack/metrics_page.py from predictor/metrics.py and predictor/controller/metrics.py.
     Do not edit. -->

[Observability](observability.md) says how to use them. A histogram has the series `_bucket`, `_sum`
and `_count`. The series of the server are there before the first request, where the values of their
labels are known.
"""
COLUMNS = "| Metric | Type | Labels | Meaning |"
SUFFIX = {"counter": "_total"}


def page() -> str:
    return "\n".join(
        [
            HEAD,
            section("Server", "Port 8080, `/metrics`.", metrics),
            section("Rollout controller", "`predictor rollout controller --port`.", rollouts),
        ]
    )


def section(title: str, where: str, module: ModuleType) -> str:
    collectors = [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]
    return "\n".join(
        [f"## {title}", "", where, "", COLUMNS, "| --- " * 4 + "|", *map(row, collectors), ""]
    )


def row(metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    name = f"{family.name}{SUFFIX.get(family.type, '')}"
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    meaning = family.documentation.replace("|", "\\|")
    return f"| `{name}` | {family.type} | {labels} | {meaning} |"


if __name__ == "__main__":
    sys.exit(made_page("predictor/docs/metrics.md", page(), "metrics_page.py", __doc__))

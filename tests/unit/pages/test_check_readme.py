"""hack/check_readme.py names what a Markdown page says and the repository does not have."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

HACK = Path(__file__).parents[3] / "hack"
PAGE = HACK / "page.md"  # never written: links are relative to it

GOOD = """\
# Try it

[here](#try-it), [there](../README.md#install-on-kubernetes), [a page](README.md)

`rollout.mode=controller`, `values.yaml`

```bash
predictor serve --model-dir x \\
  --page false &
predictor ask http://localhost:8080 | tee answer
curl localhost:8080/v1/embeddings -d '{}'
helm upgrade m charts/embedding-model --set image.repository=x,model.storageUri=y
```

```yaml
kind: EmbeddingRollout
spec: {inferenceService: m, target: {name: v2, storageUri: "pvc://v2"}}
```
"""


@pytest.fixture(scope="module")
def pages(request: pytest.FixtureRequest) -> ModuleType:
    return _imported("markdown_pages", request)


@pytest.fixture(scope="module")
def examples(request: pytest.FixtureRequest) -> ModuleType:
    return _imported("page_examples", request)


def _imported(name: str, request: pytest.FixtureRequest) -> ModuleType:
    sys.path.insert(0, str(HACK))
    request.addfinalizer(lambda: sys.path.remove(str(HACK)))
    return importlib.import_module(name)


def faults(text: str, pages: ModuleType, examples: ModuleType) -> list[tuple[int, str]]:
    lines = pages.read(text)
    return [
        *pages.check_links(lines, PAGE),
        *examples.check_requests(lines),
        *examples.check_commands(lines),
        *examples.check_chart_values(lines),
        *examples.check_rollouts(text),
    ]


def test_a_page_that_is_right_has_no_faults(pages: ModuleType, examples: ModuleType) -> None:
    assert faults(GOOD, pages, examples) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("#try-it", "#try", "there is no such heading"),
        ("#install-on-kubernetes", "#install-on-mars", "there is no such heading"),
        ("(README.md)", "(READYOU.md)", "leads nowhere"),
        ("rollout.mode", "rollout.mood", "rollout.mood is no value of a chart"),
        ("model.storageUri", "model.storageURL", "model.storageURL is no value of a chart"),
        ("--page", "--pages", "unrecognized arguments: --pages"),
        ("ask http://localhost:8080", "ask", "required: URL"),
        ("/v1/embeddings", "/v1/embedding", "the nearest is POST /v1/embeddings"),
        ("inferenceService: m, ", "", "missing required field `inferenceService`"),
    ],
)
def test_what_the_repository_does_not_have_is_named(
    right: str, wrong: str, fault: str, pages: ModuleType, examples: ModuleType
) -> None:
    assert right in GOOD
    (listed,) = faults(GOOD.replace(right, wrong, 1), pages, examples)
    assert fault in listed[1]


def test_a_heading_that_comes_again_gets_a_number(pages: ModuleType) -> None:
    lines = pages.read("# A `b`, c\n\n## Cache\n\n## Cache\n\n```text\n# No heading\n```\n")
    assert pages.anchors(lines) == {"a-b-c", "cache", "cache-1"}

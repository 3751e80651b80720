"""The layers and the picture in predictor/README.md are those of the contracts and the code."""

import pytest

from tests.scripts import load

script = load("layers_page")

CONTRACTS = [
    {"type": "layers", "containers": ["predictor"], "layers": ["cli", "engine | cache", "types"]},
    {"type": "forbidden", "source_modules": ["predictor"]},
    {"type": "layers", "containers": ["predictor.server"], "layers": ["app"]},
]


def test_the_layers_are_those_of_the_contracts() -> None:
    pyproject = {"tool": {"importlinter": {"contracts": CONTRACTS}}}
    assert script.contracts(pyproject) == {
        "predictor": [["cli"], ["engine", "cache"], ["types"]],
        "predictor.server": [["app"]],
    }


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    imports = {
        "cli": frozenset({"engine", "bundle", "rollout"}),
        "engine": frozenset({"bundle"}),
        "bundle": frozenset[str](),
        "rollout": frozenset[str](),
    }
    assert script.reduced(imports) == {
        "cli": {"engine", "rollout"},
        "engine": {"bundle"},
        "bundle": set(),
        "rollout": set(),
    }


def test_the_picture_leaves_out_what_all_import() -> None:
    layers = [["cli"], ["engine", "cache"], ["types"]]
    imports = {
        "cli": frozenset({"engine", "types"}),
        "engine": frozenset({"types"}),
        "cache": frozenset[str](),
        "types": frozenset[str](),
    }
    assert list(script.picture(layers, imports)) == [
        "```mermaid",
        "flowchart TD",
        "  subgraph layer2 [layer 2]",
        "    engine",
        "    cache",
        "  end",
        "  cli --> engine",
        "```",
    ]


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        script.with_section("# predictor", script.SECTION, "")


def test_every_package_is_named_where_the_reasons_stand() -> None:
    page = "# p\n\n`drift`\n\n## Packages\n\n- `cli` has the commands.\n\n## Layers\n\n`engine`\n"
    assert script.unexplained(page, ["cli", "drift", "engine"]) == ["drift", "engine"]


def test_the_page_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--check"]) == 0, capsys.readouterr().err

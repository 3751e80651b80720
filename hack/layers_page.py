"""Write the import layers and the picture of the packages' imports into predictor/README.md.

The layers come from the contracts in pyproject.toml, the imports from the code itself (grimp, which
import-linter is built on), so neither can differ from what hack/verify.sh enforces. `--check`
writes nothing: one line, and exit code 1, if the page is stale. Run from any folder.
"""

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_pages import Section, with_section

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "predictor/README.md"
SECTION = Section("<!-- layers: made by hack/layers_page.py -->", "<!-- /layers -->")
PACKAGE = "predictor"
# Modules that nearly every package imports; arrows to them would hide all others.
EVERYWHERE = frozenset(
    (
        "errors",
        "kserve_sdk",
        "logs",
        "metrics",
        "progress",
        "settings",
        "supervised_task",
        "timeline",
        "types",
        "wall",
    )
)

Imports = Mapping[str, frozenset[str]]


def contracts(pyproject: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """The layers of every package that has a contract, from the top down."""
    return {
        contract["containers"][0]: [
            [name.strip() for name in layer.split("|")] for layer in contract["layers"]
        ]
        for contract in pyproject["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    }


def imports_of(
    packages: Sequence[str],
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """What each package imports: other packages of the project, and third-party libraries."""
    import grimp  # comes with import-linter, which the tests of this script do without

    graph = grimp.build_graph(PACKAGE, include_external_packages=True)
    for package in packages:
        graph.squash_module(f"{PACKAGE}.{package}")
    inside: dict[str, frozenset[str]] = {}
    libraries: dict[str, frozenset[str]] = {}
    for package in packages:
        imported = graph.find_modules_directly_imported_by(f"{PACKAGE}.{package}")
        local_names = {name.removeprefix(f"{PACKAGE}.") for name in imported}
        inside[package] = frozenset(local_names.intersection(packages) - {package})
        libraries[package] = frozenset(
            name
            for name in imported
            if name.partition(".")[0] not in {PACKAGE, *sys.stdlib_module_names}
        )
    return inside, libraries


def purpose(package: str) -> str:
    """The first sentence of a package's docstring."""
    path = ROOT / PACKAGE / package
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence = " ".join(text.split("\n\n")[0].split())
    return sentence.replace("|", "\\|").replace(f"`{PACKAGE}.", "`")


def table(layers: Sequence[Sequence[str]], libraries: Imports) -> Iterator[str]:
    yield from ("| Layer | Package | What it holds | Libraries |", "| --- | --- | --- | --- |")
    for number, packages in zip(range(len(layers), 0, -1), layers, strict=True):
        for package in packages:
            listed = ", ".join(sorted(libraries[package]))
            yield f"| {number} | `{package}` | {purpose(package)} | {listed} |"


def inner_table(all_layers: Mapping[str, Sequence[Sequence[str]]]) -> Iterator[str]:
    """The layers inside the packages that have some of their own."""
    yield from ("| Inside | Layers, from the top down |", "| --- | --- |")
    for container, layers in all_layers.items():
        listed = " → ".join(", ".join(f"`{name}`" for name in layer) for layer in layers)
        yield f"| `{container.removeprefix(f'{PACKAGE}.').replace('.', '/')}` | {listed} |"


def reduced(imports: Imports) -> dict[str, frozenset[str]]:
    """The imports without those that follow from others: their transitive reduction.

    The layers leave no circles, so the reduction is unique.
    """

    def reachable(package: str) -> set[str]:
        return {package}.union(*(reachable(other) for other in imports.get(package, ())))

    return {
        package: targets
        - frozenset[str]().union(*(reachable(other) - {other} for other in targets))
        for package, targets in imports.items()
    }


def picture(layers: Sequence[Sequence[str]], imports: Imports) -> Iterator[str]:
    drawn = {
        package: targets - EVERYWHERE
        for package, targets in imports.items()
        if package not in EVERYWHERE
    }
    yield from ("```mermaid", "flowchart TD")
    for number, packages in zip(range(len(layers), 0, -1), layers, strict=True):
        shown = [package for package in packages if package in drawn]
        if len(shown) > 1:
            yield f"  subgraph layer{number} [layer {number}]"
            yield from (f"    {package}" for package in shown)
            yield "  end"
    for package, targets in reduced(drawn).items():
        yield from (f"  {package} --> {target}" for target in sorted(targets))
    yield "```"


def section(all_layers: dict[str, list[list[str]]]) -> str:
    """The tables and the picture. all_layers: of `contracts`, which loses the outermost."""
    layers = all_layers.pop(PACKAGE)
    imports, libraries = imports_of([package for layer in layers for package in layer])
    lines = [
        *table(layers, libraries),
        "",
        *inner_table(all_layers),
        "",
        *picture(layers, imports),
    ]
    return "\n".join(lines)


def unexplained(page: str, packages: Sequence[str]) -> list[str]:
    """Packages that the section Packages does not name, and so gives no reason for."""
    reasons = page.partition("\n## Packages\n")[2].partition("\n## ")[0]
    return [package for package in packages if f"`{package}`" not in reasons]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, report a stale page")
    check = parser.parse_args(arguments).check
    with (ROOT / "pyproject.toml").open("rb") as file:
        all_layers = contracts(tomllib.load(file))
    old = PAGE.read_text(encoding="utf-8")
    name = PAGE.relative_to(ROOT)
    if missing := unexplained(old, [package for layer in all_layers[PACKAGE] for package in layer]):
        sys.stderr.write(f"{name}: the section Packages does not name {', '.join(missing)}\n")
        return 1
    new = with_section(old, SECTION, section(all_layers))
    if new == old:
        return 0
    if check:
        sys.stderr.write(f"{name} is stale: run hack/layers_page.py\n")
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

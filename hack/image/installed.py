"""What is installed in the image's environment, and which distribution needs which.

Dependencies that are declared and that no server imports are listed here, once. The list names
edges and not packages, so a package stays where another distribution needs it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = "predictor"
# KServe declares most of these to keep known faults out, or for its own clients and generators;
# pandas it imports for annotations alone (predictor/kserve_sdk.py). Of kubernetes, aiohttp
# serves kubernetes.aio, which nothing imports; of tokenizers, the hub serves from_pretrained.
# Of fastapi-offline only files are served.
NOT_IMPORTED: Mapping[str, frozenset[str]] = {
    "fastapi-offline": frozenset({"fastapi"}),
    "kserve": frozenset(
        {"aiohttp", "cryptography", "grpcio-tools", "pandas", "pillow", "pyasn1", "pyjwt"}
    ),
    "kubernetes": frozenset({"aiohttp", "aiohttp-retry"}),
    "tokenizers": frozenset({"huggingface-hub"}),
}

# Folders of which a server needs these files only (predictor/server/http/swagger.py serves them).
SERVED_FILES: Mapping[str, frozenset[str]] = {
    "fastapi_offline/static": frozenset({"swagger-ui.css", "swagger-ui-bundle.js"}),
}


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(folders: Iterable[Path]) -> dict[str, Distribution]:
    """All distributions in these site-packages, by canonical name."""
    installed_there = distributions(path=[str(folder) for folder in folders])
    return {canonical(package.metadata["Name"]): package for package in installed_there}


def needs(known: Mapping[str, Distribution], extras: Iterable[str]) -> dict[str, set[str]]:
    """Each distribution that a server needs, with those that it needs itself, by canonical names.

    Args:
        extras: of the package.

    Raises:
        LookupError: the package is not installed.
    """
    if ROOT not in known:
        raise LookupError(f"{ROOT} is not installed")
    edges: dict[str, set[str]] = {}
    visited: set[tuple[str, str]] = set()
    waiting = [(ROOT, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in visited or name not in known:
            continue
        visited.add((name, extra))
        edges.setdefault(name, set())
        for needed, its_extras in _requirements(known[name], extra):
            if needed in known and needed not in NOT_IMPORTED.get(name, ()):
                edges[name].add(needed)
                waiting += [(needed, its_extra) for its_extra in ("", *its_extras)]
    return edges


def _requirements(distribution: Distribution, extra: str) -> Iterator[tuple[str, set[str]]]:
    for line in distribution.requires or ():
        required = Requirement(line)
        if required.marker is None or required.marker.evaluate({"extra": extra}):
            yield canonical(required.name), required.extras

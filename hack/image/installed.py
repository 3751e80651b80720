"""What is installed in the image's environment, and which distribution needs which.

Dependencies that are declared and never imported by a server are told here, once: an edge is cut,
not a package, so that whatever else asks for the same package keeps it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = "predictor"
# KServe declares most of these to keep known faults out, or for its own clients and generators;
# pandas it imports for annotations alone (predictor/server/kserve_sdk.py). Of kubernetes, aiohttp
# serves kubernetes.aio, which nothing imports; of tokenizers, the hub serves from_pretrained.
NOT_IMPORTED: Mapping[str, frozenset[str]] = {
    "kserve": frozenset(
        {"aiohttp", "cryptography", "grpcio-tools", "pandas", "pillow", "pyasn1", "pyjwt"}
    ),
    "kubernetes": frozenset({"aiohttp", "aiohttp-retry"}),
    "tokenizers": frozenset({"huggingface-hub"}),
}


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(folders: Iterable[Path]) -> dict[str, Distribution]:
    """All distributions in these site-packages, by canonical name."""
    found = distributions(path=[str(folder) for folder in folders])
    return {canonical(one.metadata["Name"]): one for one in found}


def needs(known: Mapping[str, Distribution], extras: Iterable[str]) -> dict[str, set[str]]:
    """What a server needs: each distribution and those that it needs, by canonical names.

    Args:
        extras: of the package.

    Raises:
        LookupError: the package is not installed.
    """
    if ROOT not in known:
        raise LookupError(f"{ROOT} is not installed")
    edges: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(ROOT, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name not in known:
            continue
        seen.add((name, extra))
        edges.setdefault(name, set())
        for needed, its_extras in _requirements(known[name], extra):
            if needed in known and needed not in NOT_IMPORTED.get(name, ()):
                edges[name].add(needed)
                waiting += [(needed, one) for one in ("", *its_extras)]
    return edges


def _requirements(one: Distribution, extra: str) -> Iterator[tuple[str, set[str]]]:
    for line in one.requires or ():
        required = Requirement(line)
        if required.marker is None or required.marker.evaluate({"extra": extra}):
            yield canonical(required.name), required.extras

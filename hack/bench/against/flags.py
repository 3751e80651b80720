"""The flags of `predictor serve` that a comparison passes, by all the names that they have had.

A flag may be renamed between two commits. Which name a commit knows is read from its
`predictor serve --help`. KServe's own flags (`--model_name`, `--http_port`, `--grpc_port`) keep
their names and are not listed here.
"""

import re
from collections.abc import Set
from dataclasses import dataclass

from ..errors import BenchError


@dataclass(frozen=True)
class Flag:
    """names: the newest first. reason: why the comparison cannot do without the flag."""

    names: tuple[str, ...]
    reason: str


MODEL_DIR = Flag(("--model-dir",), "both sides serve one Hugging Face directory")
CACHE_DIR = Flag(("--cache-dir",), "each side converts the model, whose schema changes")
HOST = Flag(("--host",), "nothing outside of the machine takes part")
NULL_ENGINE = Flag(("--null-engine",), "the section wire measures a request without the model")
MAX_BATCH_TOKENS = Flag(("--max-batch-tokens",), "the section wire needs the budget of a GPU")


def known_flags(help_text: str) -> frozenset[str]:
    """All flags that a help text names."""
    return frozenset(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", help_text))


def name_of(flag: Flag, known: Set[str]) -> str:
    """The newest name that the commit knows.

    Raises:
        BenchError: it knows none of them.
    """
    for name in flag.names:
        if name in known:
            return name
    raise BenchError(f"predictor serve has no {' or '.join(flag.names)}: {flag.reason}")

"""What is taken of a model directory, and what the directory does not say: lines of the log."""

import logging
from pathlib import Path

from predictor.bundle.manifest import Bundle, VariantName
from predictor.bundle.source import ModelSource
from predictor.export.convertible import ServedFile

logger = logging.getLogger(__name__)


def facts_of(source: ModelSource, served: ServedFile) -> dict[str, str]:
    """The facts about a directory that decide its vectors, by name."""
    prompts = ", ".join(
        name + (" (default)" if name == source.default_prompt_name else "")
        for name in source.prompts
    )
    return {
        "file": served.described(source),
        "family": source.family or "unknown",
        "task": "embed",
        "pooling": source.pooling.value + (" (--pooling)" if source.pooling_overridden else ""),
        "normalised": "yes" if source.normalize else "no",
        "prompts": prompts or "none",
        "length": f"{source.max_length} tokens",
    }


def log_bundle(folder: Path, bundle: Bundle, variant: VariantName) -> None:
    """Say what was taken of a bundle, in the words of a directory."""
    prompts = ", ".join(
        name + (" (default)" if name == bundle.default_prompt_name else "")
        for name in bundle.prompts
    )
    logger.info(
        "%s: file %s; family %s; task %s; pooling %s; normalised %s; prompts %s; length %d tokens",
        folder,
        bundle.variant(variant).graph,
        bundle.family,
        ", ".join(bundle.tasks),
        bundle.pooling.value,
        "yes" if bundle.normalize else "no",
        prompts or "none",
        bundle.max_length,
    )


def log_source(source: ModelSource, served: ServedFile) -> None:
    """Say what was taken, what was assumed, and which keys nobody here knows."""
    facts = "; ".join(f"{name} {value}" for name, value in facts_of(source, served).items())
    logger.info("%s: %s", source.folder, facts)
    for sentence in source.assumed:
        logger.warning("%s: assumed: %s", source.folder, sentence)
    if source.unread:
        logger.info("%s: keys that are not read: %s", source.folder, "; ".join(source.unread))

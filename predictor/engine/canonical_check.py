"""Whether a variant gives its canonical vectors on this machine: what is loaded has to pass it.

`predictor export` publishes only what passes it too.
"""

from pathlib import Path

import numpy as np

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.bundle.canonical_vectors import read_canonical
from predictor.bundle.manifest import TOKENIZER, Bundle, VariantName, check_proven, read_bundle
from predictor.engine.engine import OnnxEngine
from predictor.engine.pooling import finish
from predictor.engine.reference_runs import full_and_short, run_unbatched_and_batched
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, EngineError, EngineOutOfMemory, NoMemory, WrongVectors
from predictor.similarity import cosines
from predictor.types import FloatRows


def check_bundle(folder: Path, threads: int) -> None:
    """Check a bundle as a server does that loads each of its variants on a CPU.

    Raises:
        BadModel: a server would refuse it; the message is the server's.
        NoMemory: there is not enough memory to load it.
    """
    bundle = read_bundle(folder)
    check_proven(folder, bundle)
    tokenizer = Tokenizer(folder / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    for name, variant in bundle.variants.items():
        if variant.device != "cuda":
            engine = OnnxEngine(folder, bundle, threads=threads, variant=name)
            check_canonical(folder, bundle, tokenizer, engine, name)


def check_canonical(
    folder: Path, bundle: Bundle, tokenizer: Tokenizer, engine: OnnxEngine, name: VariantName
) -> None:
    """Run the canonical texts alone and batched, which also warms the engine, and compare.

    Raises:
        BadModel: a vector differs from the proven one by more than the tolerance.
        NoMemory: there is not enough memory for the texts.
    """
    variant = bundle.variant(name)
    texts, expected = CANONICAL_TEXTS, None
    if variant.proof.reference != "none":
        texts, expected = read_canonical(folder, name)
    try:
        rows = tokenizer.encode(texts).ids
        alone, batched = run_unbatched_and_batched(engine, rows)
        pair, short = full_and_short(rows, bundle.max_length)
        full_length, short_vector = finish(engine.run(pair), None, True)
    except EngineOutOfMemory as error:
        graph = folder / variant.graph
        raise NoMemory(f"{graph}: not enough memory for the canonical texts") from error
    except EngineError as error:
        why = " ".join(str(error.__cause__ or error).split())[:300]
        raise BadModel(
            f"{folder / variant.graph}: cannot run the canonical texts: {why}"
        ) from error
    reference = alone if expected is None else expected
    shape = (len(texts), bundle.dimensions)
    if alone.shape != shape or reference.shape != shape or not _finite(alone, batched):
        raise BadModel(
            f"{folder}: the graph gives vectors {list(alone.shape)} where {list(shape)} finite "
            "numbers are expected"
        )
    if not _finite(full_length, short_vector):
        raise BadModel(
            f"{folder}: the graph gives no finite numbers for a text of {len(pair[0])} tokens, or "
            "for a short text that is padded beside it"
        )
    smallest = min(float(cosines(v, reference).min()) for v in (alone, batched))
    if expected is not None:  # a graph of unknown origin may quantise by the whole batch
        padded = cosines(short_vector[None], expected[short : short + 1])
        smallest = min(smallest, float(padded[0]))
    if not smallest >= variant.proof.tolerance:
        raise WrongVectors(
            f"{folder}: canonical vectors of {name} are not reproduced: smallest cosine "
            f"{smallest:.6f}, tolerance {variant.proof.tolerance} (proven on "
            f"{' '.join(variant.proof.instructions) or 'an unknown CPU'})"
        )


def _finite(*vectors: FloatRows) -> bool:
    return all(bool(np.isfinite(rows).all()) for rows in vectors)

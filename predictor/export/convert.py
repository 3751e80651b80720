"""A Hugging Face directory to a bundle when a server starts: float32, proven against itself.

`predictor export` (`job.py`) does more: variants, and a proof against the original model.
"""

import logging
import time
from pathlib import Path

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.bundle.canonical_vectors import write_canonical
from predictor.bundle.manifest import FP32, is_bundle
from predictor.bundle.publish import publish, staging_folder
from predictor.bundle.source import ModelSource
from predictor.export.draft import digest_of
from predictor.export.float32 import prove_float32, run_float32, write_float32

logger = logging.getLogger(__name__)


def convert_cached(source: ModelSource, cache_dir: Path, threads: int) -> Path:
    """The bundle of this source in the cache, made if it is not there yet.

    Returns:
        The version folder, `<cache_dir>/<digest>/1`.

    Raises:
        BadModel: the model cannot be converted, or its graph is out of tolerance.
    """
    digest = digest_of(source, source.weights)
    version = cache_dir / digest[:16] / "1"
    if is_bundle(version):
        return version
    logger.info("converting %s (%s) into %s", source.folder, source.family, version)
    started = time.monotonic()
    with staging_folder(version.parent, cache_dir, "give --cache-dir") as folder:
        bundle = write_float32(source, digest, folder)
        run = run_float32(bundle, folder, CANONICAL_TEXTS, threads)
        bundle = prove_float32(bundle, run)
        write_canonical(folder, {FP32: run.unbatched})
        bundle = publish(bundle, folder, version)
    proof = bundle.variant(FP32).proof
    logger.info(
        "converted in %.1f s: revision %s, %d canonical texts, smallest cosine %.7f (%s)",
        time.monotonic() - started,
        bundle.revision,
        proof.texts,
        proof.min_cosine,
        proof.reference,
    )
    return version

"""The engine without a server: tokens a second with the best batches that there can be.

All texts are known, tokenised and sorted by length beforehand; one-thread callers, as many as the
server has, each take the next batch. Several token budgets are tried and the best counts, so that
this is a ceiling and not a guess. Runs in our server's environment and uses the classes that the
server uses. Prints one line of JSON: tokens_per_second.
"""

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Lock

from predictor.engine.bundle import MANIFEST, TOKENIZER, read_bundle
from predictor.engine.cpu import available_cpus
from predictor.engine.engine import Engine, OnnxEngine
from predictor.engine.proving import group_by_length
from predictor.engine.tokenizer import Tokenizer

BUDGETS = (256, 512, 1024)
WARM_UP_BATCHES = 20


def engine_alone(bundle_dir: Path, texts: Sequence[str], seconds: float) -> float:
    """Tokens a second; `seconds` are shared by the budgets that are tried."""
    bundle = read_bundle(bundle_dir)
    rows = Tokenizer(bundle_dir / TOKENIZER, bundle.max_length).encode(texts).ids
    engine = OnnxEngine(bundle_dir, bundle, threads=available_cpus())
    rates = []
    for budget in BUDGETS:
        groups = group_by_length([len(row) for row in rows], budget)
        batches = [[rows[index] for index in group] for group in groups]
        # Long and short batches take turns, so that a run cut short has seen the whole mix.
        batches = [batch for turn in range(16) for batch in batches[turn::16]]
        for batch in batches[:WARM_UP_BATCHES]:
            engine.run(batch)
        rates.append(_rate(engine, batches, seconds / len(BUDGETS)))
    return max(rates)


def _rate(engine: Engine, batches: Sequence[Sequence[Sequence[int]]], seconds: float) -> float:
    lock, source = Lock(), cycle(batches)
    start = time.perf_counter()

    def call(_: int) -> int:
        tokens = 0
        while time.perf_counter() - start < seconds:
            with lock:
                batch = next(source)
            engine.run(batch)
            tokens += sum(map(len, batch))
        return tokens

    with ThreadPoolExecutor(engine.threads) as callers:
        tokens = sum(callers.map(call, range(engine.threads)))
    return tokens / (time.perf_counter() - start)


def find_bundle(bundles: Path, revision: str) -> Path:
    for manifest in bundles.rglob(MANIFEST):
        if read_bundle(manifest.parent).revision == revision:
            return manifest.parent
    raise SystemExit(f"{bundles}: no bundle of revision {revision}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundles", type=Path, required=True, help="our server's --cache-dir")
    parser.add_argument("--revision", required=True, help="of the bundle in it")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    texts = [f"1 {text}" for text in options.texts.read_text().splitlines()]
    bundle_dir = find_bundle(options.bundles, options.revision)
    rate = engine_alone(bundle_dir, texts, options.seconds)
    print(json.dumps({"tokens_per_second": rate}))


if __name__ == "__main__":
    main()

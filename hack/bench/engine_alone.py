"""The engine without a server: tokens a second with the best batches that there can be.

All texts are known, tokenised and put with others of their length beforehand; one-thread callers,
as many as the server has, each take the next batch. Several token budgets are tried and the best
counts, so that this is a ceiling and not a guess. Runs in our server's environment, uses the
classes that the server uses and measures as `predictor bench` does. Prints one line of JSON:
tokens_per_second.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from predictor.bench.benchmark import best_rate
from predictor.bundle.manifest import TOKENIZER, VariantName, read_bundle
from predictor.engine.cpu import available_cpus
from predictor.engine.engine import OnnxEngine
from predictor.engine.tokenizer import Tokenizer

BUDGETS = (256, 512, 1024)


def engine_alone(
    bundle_dir: Path, variant: VariantName, texts: Sequence[str], seconds: float
) -> float:
    """Tokens a second; `seconds` are shared by the budgets that are tried."""
    bundle = read_bundle(bundle_dir)
    tokenizer = Tokenizer(bundle_dir / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    engine = OnnxEngine(bundle_dir, bundle, threads=available_cpus(), variant=variant)
    return best_rate(engine, tokenizer.encode(texts).ids, BUDGETS, seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    texts = [f"1 {text}" for text in options.texts.read_text().splitlines()]
    rate = engine_alone(options.bundle, options.variant, texts, options.seconds)
    print(json.dumps({"tokens_per_second": rate}))


if __name__ == "__main__":
    main()

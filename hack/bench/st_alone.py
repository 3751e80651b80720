"""sentence-transformers without a server: the tokens a second that a notebook gets, batch 32.

Runs in the environment of the naive sentence-transformers server. Prints one line of JSON:
tokens_per_second.
"""

import argparse
import json
import time
from pathlib import Path

from sentence_transformers import SentenceTransformer

BATCH = 32
TEXTS = 512  # eight blocks of the corpus, so the whole distribution of lengths


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()

    model = SentenceTransformer(str(options.model_dir), device="cpu")
    texts = [f"1 {text}" for text in options.texts.read_text().splitlines()[:TEXTS]]
    tokens = sum(len(ids) for ids in model.tokenizer(texts)["input_ids"])
    model.encode(texts[:BATCH], batch_size=BATCH, show_progress_bar=False)
    passes = 0
    start = time.perf_counter()
    while passes == 0 or time.perf_counter() - start < options.seconds:
        model.encode(texts, batch_size=BATCH, show_progress_bar=False)
        passes += 1
    seconds = time.perf_counter() - start
    print(json.dumps({"tokens_per_second": passes * tokens / seconds}))


if __name__ == "__main__":
    main()

"""The stock graph and nothing around it: one text after another through a plain InferenceSession.

Default session options, so all cores and spinning threads: what ONNX Runtime does for one request
when nobody stands in its way. Tokenised beforehand; its own process, since its threads go on
spinning after a run. Prints one line of JSON: p50_ms, p99_ms, runs.
"""

import argparse
import json
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

WARM_UP_RUNS = 50


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(options.model_dir / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    feeds = [
        {
            "input_ids": np.array([encoding.ids], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask], dtype=np.int64),
            "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
        }
        for encoding in tokenizer.encode_batch(
            [f"1 {text}" for text in options.texts.read_text().splitlines()]
        )
    ]
    session = onnxruntime.InferenceSession(
        str(options.model_dir / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    for feed in feeds[:WARM_UP_RUNS]:
        session.run(None, feed)
    took: list[float] = []
    end = time.perf_counter() + options.seconds
    for feed in cycle(feeds):
        start = time.perf_counter()
        session.run(None, feed)
        stop = time.perf_counter()
        took.append((stop - start) * 1e3)
        if stop > end:
            break
    p50, p99 = np.percentile(took, [50, 99])
    print(json.dumps({"p50_ms": p50, "p99_ms": p99, "runs": len(took)}))


if __name__ == "__main__":
    main()

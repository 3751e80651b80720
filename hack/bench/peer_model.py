"""The model as its peers take it: a copy of its directory with the stock ONNX graph in it.

Runs in Infinity's environment, which has torch, transformers and sentence-transformers. Writes

* `model.onnx`, as published models carry it: padded inputs, last_hidden_state out;
* the fused graph that Infinity makes of it at its first start. Infinity 0.0.78 fails at that with
  the optimum that torch 2.13 needs (one argument is gone), says so in its log and serves the plain
  graph, which is slower. It is made here by the same call and laid where Infinity looks for it;
* `reference.npz`: sentence-transformers' vectors of the texts in --texts, with which every server
  has to agree before it is measured.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from optimum.onnxruntime import (  # type: ignore[import-not-found]
    ORTModelForFeatureExtraction,
    ORTOptimizer,
)
from optimum.onnxruntime.configuration import (  # type: ignore[import-not-found]
    OptimizationConfig,
)
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

GRAPH = "model.onnx"
OPSET = 17
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"


class LastHiddenState(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state


def export(folder: Path, graph: Path) -> None:
    # The exporter that traces, not torch's newer one: published graphs were made with it, and ONNX
    # Runtime's optimizer, which Infinity calls, knows its patterns.
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.ones(2, 9, dtype=torch.long)
    axes = {0: "batch_size", 1: "sequence_length"}
    torch.onnx.export(
        LastHiddenState(model),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(graph),
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_axes={name: axes for name in (*INPUTS, OUTPUT)},
        opset_version=OPSET,
        dynamo=False,
    )


def fuse(folder: Path, out: Path) -> None:
    """Infinity's call, with the settings that it uses on a CPU."""
    plain = ORTModelForFeatureExtraction.from_pretrained(folder, file_name=GRAPH)
    config = OptimizationConfig(optimization_level=99, optimize_for_gpu=False, fp16=False)
    ORTOptimizer.from_pretrained(plain).optimize(
        optimization_config=config, save_dir=str(out), one_external_file=True
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fused", type=Path, required=True)
    options = parser.parse_args()
    shutil.copytree(options.model_dir, options.out, ignore=shutil.ignore_patterns("onnx", ".*"))
    texts = options.texts.read_text().splitlines()
    reference = SentenceTransformer(str(options.out), device="cpu")
    vectors = reference.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    np.savez(options.out / "reference.npz", texts=np.array(texts), vectors=vectors)
    export(options.out, options.out / GRAPH)
    fuse(options.out, options.fused)


if __name__ == "__main__":
    main()

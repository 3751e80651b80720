"""The peer that everybody writes first: a kserve.Model around a plain model, as a tutorial has it.

Runs in the peers' environments (kserve and onnxruntime, or sentence-transformers), so it imports
nothing of this project. KServe's flags as they are; responses are KServe's own. `--null` answers
constant vectors after tokenising: what is left is KServe's stock path.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from kserve import InferRequest, InferResponse, Model, ModelServer, model_server
from kserve.utils.utils import get_predict_response

Rows = npt.NDArray[np.float32]
Embed = Callable[[list[str]], Rows]
MAX_TOKENS = 256
DIMENSIONS = 384


def tokenizer(folder: Path) -> Callable[[list[str]], dict[str, npt.NDArray[np.int64]]]:
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
    loaded.enable_truncation(MAX_TOKENS)
    loaded.enable_padding()

    def encode(texts: list[str]) -> dict[str, npt.NDArray[np.int64]]:
        encodings = loaded.encode_batch(texts)
        return {
            "input_ids": np.array([e.ids for e in encodings], dtype=np.int64),
            "attention_mask": np.array([e.attention_mask for e in encodings], dtype=np.int64),
            "token_type_ids": np.array([e.type_ids for e in encodings], dtype=np.int64),
        }

    return encode


def onnx_runtime(folder: Path) -> Embed:
    import onnxruntime

    encode = tokenizer(folder)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))

    def embed(texts: list[str]) -> Rows:
        inputs = encode(texts)
        hidden = session.run(None, inputs)[0]
        mask = inputs["attention_mask"][:, :, None]
        mean = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
        rows: Rows = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
        return rows

    return embed


def sentence_transformers(folder: Path) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def null(folder: Path) -> Embed:
    encode = tokenizer(folder)
    row = np.random.default_rng(0).standard_normal(DIMENSIONS).astype(np.float32)
    row /= np.linalg.norm(row)

    def embed(texts: list[str]) -> Rows:
        encode(texts)
        return np.tile(row, (len(texts), 1))

    return embed


class NaiveModel(Model):  # type: ignore[misc]
    def __init__(self, name: str, embed: Embed) -> None:
        super().__init__(name)
        self.embed = embed
        self.ready = True

    def predict(
        self,
        payload: InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, Any] | None = None,
    ) -> InferResponse:
        texts = [
            text.decode() if isinstance(text, bytes) else text
            for text in payload.inputs[0].as_numpy().ravel()
        ]
        return get_predict_response(payload, self.embed(texts), self.name)


def main() -> None:
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--backend", choices=("ort", "st"), default="ort")
    parser.add_argument("--null", action="store_true")
    options = parser.parse_args()
    build = {"ort": onnx_runtime, "st": sentence_transformers}[options.backend]
    embed = (null if options.null else build)(options.model_dir)
    ModelServer().start([NaiveModel(options.model_name, embed)])


if __name__ == "__main__":
    main()

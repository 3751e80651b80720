"""What goes wrong around the requests: clients that leave, floods, SIGTERM, damaged models."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.integration.faults.damaged import (
    CONFIG,
    SHAPES,
    put,
)
from tests.integration.faults.troubled import (
    client_of,
)
from tests.integration.test_plain_onnx import write_tokenizer
from tests.serving import Server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A whole sentence-transformers directory of a BERT with one small layer."""
    folder = tmp_path / "model"
    folder.mkdir()
    random = np.random.default_rng(3)
    weights = {
        name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()
    }
    save_file(weights, folder / "model.safetensors")
    write_tokenizer(folder)
    put(folder / "config.json", CONFIG)
    put(
        folder / "modules.json",
        [
            {"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
            {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
        ],
    )
    put(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    put(folder / "sentence_bert_config.json", {"max_seq_length": 64})
    put(folder / "config_sentence_transformers.json", {"prompts": {}})
    return folder

"""With torch installed: the original model's vectors, families without a builder, pickles."""

import importlib.util
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from predictor import repository
from predictor.bundle.canonical_vectors import read_canonical
from predictor.bundle.manifest import read_bundle
from predictor.engine.pooling import finish
from predictor.settings import ModelSettings
from predictor.similarity import cosines
from predictor.types import FloatRows
from tests.integration.test_export import export, left_in
from tests.reference.families.folders import assemble
from tests.reference.families.texts import family_texts

LIBRARIES = ("torch", "transformers", "sentence_transformers")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in LIBRARIES),
        reason="torch, transformers or sentence-transformers is not installed",
    ),
    pytest.mark.filterwarnings("ignore"),  # of torch and transformers
]
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
SIZES |= {"intermediate_size": 48, "max_position_embeddings": 128, "vocab_size": 324}
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


def electra(library: Any) -> Any:
    config = library.ElectraConfig(**SIZES, embedding_size=16)
    return library.ElectraModel(config)


def albert(library: Any) -> Any:
    config = library.AlbertConfig(**SIZES, embedding_size=16)
    return library.AlbertModel(config)


def deberta(library: Any) -> Any:
    config = library.DebertaV2Config(
        **SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0
    )
    return library.DebertaV2Model(config)


FAMILIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "electra": (electra, "mean"),
    "albert": (albert, "cls"),
    "deberta-v2": (deberta, "max"),
}


def write_model(folder: Path, family: str) -> Path:
    """A sentence-transformers directory with random weights and the tokenizer of the small BERT."""
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    models = importlib.import_module("sentence_transformers.models")
    library = importlib.import_module("sentence_transformers")
    torch.manual_seed(0)
    bert = assemble("bert", folder.parent / "bert")
    make, pooling = FAMILIES[family]
    plain = folder.parent / "plain"
    encoder = make(transformers)
    for parameter in encoder.parameters():
        if parameter.dim() > 1:  # as it comes, all texts are nearly the same
            torch.nn.init.normal_(parameter, std=0.3)
    encoder.save_pretrained(plain)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(bert / "tokenizer.json"),
        model_max_length=64,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )
    tokenizer.save_pretrained(plain)
    word = models.Transformer(str(plain), max_seq_length=64)
    parts = [word, models.Pooling(SIZES["hidden_size"], pooling_mode=pooling)]
    library.SentenceTransformer(modules=[*parts, models.Normalize()], device="cpu").save(
        str(folder)
    )
    return folder


def original(folder: Path) -> FloatRows:
    library = importlib.import_module("sentence_transformers")
    model = library.SentenceTransformer(str(folder), device="cpu")
    vectors: FloatRows = np.stack(
        [model.encode(text, prompt="", normalize_embeddings=True) for text in family_texts()]
    )
    return vectors


def served(folder: Path) -> FloatRows:
    """What the server's engine gives, all texts in one batch."""
    settings = ModelSettings(model_dir=str(folder), threads=2, device="cpu")
    loaded = repository.load_model(settings)
    rows = loaded.tokenizer.encode(family_texts()).ids
    return finish(loaded.engine.run(rows), None, True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_without_a_builder_is_exported_padded_and_served_right(
    tmp_path: Path, family: str
) -> None:
    source = write_model(tmp_path / "source", family)
    done = export(source, "-o", tmp_path / "out", torch=True, environment=QUIET)
    assert done.code == 0, done.err
    assert f"family {family!r} has no builder" in done.err
    bundle = read_bundle(tmp_path / "out" / "1")
    assert (bundle.inputs, bundle.family, bundle.dimensions) == ("padded", family, 32)
    assert bundle.max_length == 64
    proof = bundle.variants["fp32"].proof
    assert (proof.reference, proof.texts) == ("torch", 320)
    assert left_in(tmp_path / "out" / "1") == sorted([*bundle.files, "bundle.json"])
    expected = original(source)
    assert cosines(expected, np.roll(expected, 1, axis=0)).mean() < 0.95, "too much alike to tell"
    assert cosines(served(tmp_path / "out"), expected).min() >= 0.99999


def test_a_padded_family_has_no_variants(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", "electra")
    done = export(
        source, "-o", tmp_path / "out", "--variants", "int8", torch=True, environment=QUIET
    )
    line = done.refusal(2)
    assert line.startswith("--variants int8: family 'electra' has no builder, and only graphs")
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_built_family_is_compared_with_the_original(tmp_path: Path, pooling: str) -> None:
    source = assemble("bert", tmp_path / "source")
    done = export(
        source, "-o", tmp_path / "out", "--pooling", pooling, torch=True, environment=QUIET
    )
    assert done.code == 0, done.err
    bundle = read_bundle(tmp_path / "out" / "1")
    assert (bundle.inputs, bundle.pooling) == ("packed", pooling)
    proof = bundle.variants["fp32"].proof
    assert proof.reference == "torch"
    assert proof.min_cosine >= 0.99999


# Pickles


def unsafetensored(folder: Path, **options: Any) -> Path:
    """The weights as a pickle in place of safetensors."""
    torch = importlib.import_module("torch")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    torch.save(state, folder / "pytorch_model.bin", **options)
    return folder


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickled_checkpoint_gives_the_same_vectors(tmp_path: Path, legacy: bool) -> None:
    source = assemble("bert", tmp_path / "source")
    assert export(source, "-o", tmp_path / "plain").code == 0
    unsafetensored(source, _use_new_zipfile_serialization=not legacy)
    done = export(source, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    plain, pickled = (read_canonical(tmp_path / name / "1")[1] for name in ("plain", "out"))
    np.testing.assert_array_equal(pickled, plain)


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("through_torch", [False, True])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, through_torch: bool) -> None:
    source = assemble("bert", tmp_path / "source")
    (source / "model.safetensors").unlink()
    with (source / "pytorch_model.bin").open("wb") as file:
        content = {"embeddings.word_embeddings.weight": Payload(tmp_path / "ran")}
        if through_torch:
            importlib.import_module("torch").save(content, file)
        else:
            pickle.dump(content, file)
    line = export(source, "-o", tmp_path / "out").refusal()
    assert line.startswith(f"{source / 'pytorch_model.bin'}: not a plain checkpoint: ")
    assert not (tmp_path / "ran").exists()
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_pickle_is_one_line(tmp_path: Path, content: bytes) -> None:
    source = assemble("bert", tmp_path / "source")
    (source / "model.safetensors").unlink()
    (source / "pytorch_model.bin").write_bytes(content)
    line = export(source, "-o", tmp_path / "out").refusal()
    assert line.startswith(f"{source / 'pytorch_model.bin'}: not a plain checkpoint: ")
    assert left_in(tmp_path / "out") == []

"""What an export checks before it publishes: the reference, the options; what it records."""

import json
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.bundle.canonical_vectors import read_canonical, write_canonical
from predictor.bundle.manifest import FP32, VariantName, read_bundle
from predictor.errors import BadModel, BadSetting, EngineError
from predictor.export import job
from predictor.export.acquire import Acquired
from predictor.export.job import Exported, ExportOptions, export
from predictor.progress import Progress
from predictor.types import FloatRows
from tests.reference.families.folders import MODELS, REFERENCE, assemble
from tests.reference.families.texts import family_texts

WIDTH = 32
ROW = np.ones((1, WIDTH), dtype=np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble("bert", tmp_path_factory.mktemp("job") / "bert")


def exported(source: Path, model: Path, **options: Any) -> Exported:
    acquired = Acquired(source, "organisation/bert", "c0ffee")
    return export(
        acquired, model, ExportOptions(**{"with_torch": False} | options), Progress(quiet=True)
    )


def test_the_recorded_source_is_the_acquired_one(source: Path, tmp_path: Path) -> None:
    done = exported(source, tmp_path)
    assert done.version == tmp_path / "1"
    assert read_bundle(done.version) == done.bundle
    assert (done.bundle.source, done.bundle.source_revision) == ("organisation/bert", "c0ffee")
    assert done.bundle.licence is None


def test_the_canonical_vectors_are_of_every_variant(source: Path, tmp_path: Path) -> None:
    done = exported(source, tmp_path, variants=(FP32, "int8-weights", "fp16"))
    fp32 = read_canonical(done.version)
    assert fp32[0] == CANONICAL_TEXTS
    rounded = read_canonical(done.version, "int8-weights")[1]
    assert (fp32[1] * rounded).sum(axis=1).min() > 0.99
    assert not np.array_equal(rounded, fp32[1])
    # Where no GPU is needed to export, float32's are what fp16 has to come near.
    np.testing.assert_array_equal(read_canonical(done.version, "fp16")[1], fp32[1])


def test_a_reference_need_not_be_of_length_1(source: Path, tmp_path: Path) -> None:
    with np.load(MODELS / "bert" / REFERENCE) as kept:
        vectors = kept["vectors"] * 7.5
    np.savez(tmp_path / "reference.npz", texts=np.array(family_texts()), vectors=vectors)
    done = exported(source, tmp_path / "out", reference=tmp_path / "reference.npz")
    proof = done.bundle.variants[FP32].proof
    assert (proof.reference, proof.texts) == ("file", len(vectors))
    assert proof.min_cosine >= 0.99999
    assert proof.max_abs_difference < 1e-4


def damaged(path: Path) -> None:
    """A compressed archive whose vectors cannot be decompressed."""
    texts = np.array(["a text"] * 400)
    vectors = np.random.default_rng(0).standard_normal((400, WIDTH))
    np.savez_compressed(path, texts=texts, vectors=vectors)
    content = bytearray(path.read_bytes())
    middle = content.index(b"vectors.npy") + 100
    content[middle : middle + 4000 : 7] = b"\xff" * len(range(middle, middle + 4000, 7))
    path.write_bytes(content)
    with (
        pytest.raises((zlib.error, zipfile.BadZipFile)),
        path.open("rb") as file,
        np.load(file) as data,
    ):
        data["vectors"]


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, ROW)


def archive(**arrays: Any) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **arrays)


UNREADABLE = "cannot be read as .npz with `texts` and `vectors`"
WRONG_REFERENCES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a number": (
        archive(texts=["one"], vectors=ROW * np.float32("nan")),
        "out of tolerance against file: min_cosine nan",
    ),
    "nothing but zeros": (
        archive(texts=["one"], vectors=ROW * 0),
        "out of tolerance against file: min_cosine 0.0",
    ),
    "another width": (
        archive(texts=["one"], vectors=ROW[:, :8]),
        "the graph gives vectors [1, 32], the reference has [1, 8]",
    ),
    "fewer vectors": (archive(texts=["one", "two"], vectors=ROW), "2 texts, vectors of shape"),
    "no texts": (archive(texts=np.array([], dtype=str), vectors=ROW[:0]), "0 texts, vectors"),
    "one dimension": (archive(texts=["one"], vectors=ROW[:, 0]), "vectors of shape [1]"),
    "another name": (archive(texts=["one"], embeddings=ROW), UNREADABLE),
    "no list of texts": (archive(texts="one", vectors=ROW), UNREADABLE),
    "words for numbers": (archive(texts=["one"], vectors=[["a"]]), UNREADABLE),
    "objects": (archive(texts=np.array(["one", None]), vectors=ROW), UNREADABLE),
    "one array": (one_array, UNREADABLE),
    "empty": (lambda path: path.write_bytes(b""), UNREADABLE),
    "no archive": (lambda path: path.write_text("texts, vectors"), UNREADABLE),
    "damaged": (damaged, UNREADABLE),
    "a folder": (lambda path: path.mkdir(), UNREADABLE),
    "missing": (lambda path: None, UNREADABLE),
}


@pytest.mark.parametrize("case", WRONG_REFERENCES)
def test_a_reference_that_does_not_fit_is_a_sentence(
    source: Path, tmp_path: Path, case: str
) -> None:
    write, sentence = WRONG_REFERENCES[case]
    write(tmp_path / "reference.npz")
    with pytest.raises(BadModel) as raised:
        exported(source, tmp_path / "out", reference=tmp_path / "reference.npz")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_matryoshka_dimensions_are_sorted_and_each_there_once(source: Path, tmp_path: Path) -> None:
    done = exported(source, tmp_path, matryoshka=(16, WIDTH, 8, 16))
    assert done.bundle.matryoshka == (8, 16, WIDTH)


def test_a_dimension_that_the_model_does_not_have_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="--matryoshka 64: the model has 32 dimensions"):
        exported(source, tmp_path, matryoshka=(16, 64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        (b"---\nlicense: apache-2.0\n---\n# A model", "apache-2.0"),
        (b"---\ntags:\n- a\nlicense:   mit  \n---\n", "mit"),
        (b"# A model\nlicense: mit\n", None),
        (b"---\nlanguage: en\n---\n", None),
        (b"---\nlicense: \xff\n---\n", None),
    ],
)
def test_the_licence_is_that_of_the_readmes_head(
    source: Path, tmp_path: Path, readme: bytes, licence: str | None
) -> None:
    folder = assemble("bert", tmp_path / "source")
    (folder / "README.md").write_bytes(readme)
    assert exported(folder, tmp_path / "out").bundle.licence == licence


def test_what_a_server_refuses_is_not_published(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder gave a zero vector for a canonical text, which no cosine can be computed of."""

    def write_zeros(folder: Path, vectors: dict[VariantName, FloatRows]) -> None:
        write_canonical(folder, {name: np.zeros_like(rows) for name, rows in vectors.items()})

    monkeypatch.setattr(job, "write_canonical", write_zeros)
    with pytest.raises(BadModel, match="canonical vectors of fp32 are not reproduced"):
        exported(source, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_a_graph_that_cannot_be_run_is_one_line(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("the engine failed on this batch") from ValueError("a shape")

    monkeypatch.setattr(job, "run_float32", fail)
    with pytest.raises(BadModel, match=r"^organisation/bert: its graph cannot be run: a shape$"):
        exported(source, tmp_path / "model")


def test_eight_bit_floats_are_refused_by_their_type(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fp8"
    shutil.copytree(source, folder)
    weights = folder / "model.safetensors"
    name = "embeddings.word_embeddings.weight"
    head = json.dumps({name: {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    weights.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    with pytest.raises(BadModel, match=f"tensor '{name}' is of type F8_E4M3, which is not read"):
        exported(folder, tmp_path / "model")


def test_code_of_a_model_is_not_left_out_in_silence(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_bytes())
    config["auto_map"] = {"AutoModel": "modeling_own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadModel, match=r"auto_map .*modeling_own\.OwnModel.* never run"):
        exported(folder, tmp_path / "model")

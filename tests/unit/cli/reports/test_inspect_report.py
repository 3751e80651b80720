"""A bundle in words: what is shared, what is proven, and what that is worth."""

from typing import Any

import msgspec
import pytest

from predictor.bundle.manifest import Bundle, Variant
from predictor.bundle.proof import Proof
from predictor.cli.reports import inspect_report
from predictor.cli.reports.table import size, table
from predictor.types import Pooling

SIZES = {"model.onnx": 30_000, "model.onnx.data": 90_000_000, "int8.onnx": 40_000}
SIZES |= {"tokenizer.json": 700_000, "canonical.npz": 500}
BUNDLE = Bundle(
    source="org/model",
    source_revision="c0ffee",
    source_digest="d" * 64,
    licence="apache-2.0",
    family="bert",
    max_length=512,
    dimensions=384,
    matryoshka=(64, 128, 384),
    pooling=Pooling.MEAN,
    normalize=True,
    inputs="packed",
    prompts={"query": "query: ", "passage": "passage: "},
    default_prompt_name="query",
    files={name: name[0] * 64 for name in SIZES},
    variants={
        "fp32": Variant(
            graph="model.onnx",
            proof=Proof(
                reference="self",
                tolerance=0.99999,
                limits={"min_cosine": 0.99999},
                texts=36,
                min_cosine=0.9999998,
                instructions=("avx2", "fma"),
                note="Seen in the morning.",
            ),
        ),
        "int8": Variant(
            graph="int8.onnx",
            proof=Proof(reference="fp32", tolerance=0.99, texts=320, min_cosine=0.991),
        ),
    },
)
USED: inspect_report.Used = {
    "fp32": {name: SIZES[name] for name in ("model.onnx", "model.onnx.data")},
    "int8": {name: SIZES[name] for name in ("int8.onnx", "model.onnx.data")},
}


# int8 reads the tables of the shared file and no more.
WHOLE = inspect_report.BundleSizes(SIZES, USED, {"fp32": 90_030_000, "int8": 52_040_000})


def words(bundle: Bundle = BUNDLE) -> str:
    return " ".join(inspect_report.as_text(bundle, "3", WHOLE).split())


def test_the_facts_are_there() -> None:
    text = words()
    for fact in (
        f"org/model, version 3, revision {BUNDLE.revision}",
        "tasks embed family bert",
        "source org/model at c0ffee (digest dddddddddddd)",
        "licence apache-2.0",
        "dimensions 384",
        "Matryoshka 64, 128, 384",
        "max length 512 tokens",
        "pooling mean, normalised",
        "inputs packed",
        "prompts query: 'query: ' (default) prompt passage: 'passage: '",
    ):
        assert fact in text


def test_what_is_not_known_is_said() -> None:
    changes: dict[str, Any] = {
        "source": "",
        "licence": None,
        "prompts": {},
        "matryoshka": (),
        "normalize": False,
    }
    text = words(msgspec.structs.replace(BUNDLE, **changes))
    assert "source not recorded" in text
    assert "licence not recorded" in text
    assert "prompts none" in text
    assert "the model was not trained for any" in text
    assert "mean, not normalised" in text


def test_a_shared_file_is_counted_once() -> None:
    text = words()
    assert "model.onnx.data 90.0 MB mmmmmmmmmmmm fp32, int8 (shared)" in text
    assert "90.8 MB on disk, each file counted once" in text
    content = inspect_report.as_json(BUNDLE, "3", WHOLE)
    assert content["sizes"]["total"] == sum(SIZES.values())
    assert content["sizes"]["variants"] == {"fp32": 90_030_000, "int8": 52_040_000}


def test_the_json_is_the_manifest_and_more() -> None:
    content = inspect_report.as_json(BUNDLE, "3", WHOLE)
    assert (content["revision"], content["version"]) == (BUNDLE.revision, "3")
    assert (content["schema"], content["tasks"]) == (3, ("embed",))
    rest = {key: value for key, value in content.items() if key in Bundle.__struct_fields__}
    assert msgspec.convert(rest, Bundle) == BUNDLE


def test_a_proof_against_itself_shows_consistency_only() -> None:
    text = words()
    assert "fp32: verified against itself only. This shows consistency" in text
    assert "Required: min_cosine 0.99999. Measured with avx2 fma. Seen in the morning." in text
    assert "int8: verified against the fp32 graph of the bundle" in text
    assert "fp32 any 90.0 MB self 36 0.9999998" in text
    assert "int8 any 52.0 MB fp32 320 0.9910000" in text


@pytest.mark.parametrize("reference", ["torch", "file", "none"])
def test_every_reference_has_words(reference: str) -> None:
    proof = msgspec.convert({"reference": reference, "tolerance": 0.99}, Proof)
    variants = {"fp32": Variant(graph="model.onnx", proof=proof)}
    bundle = msgspec.structs.replace(BUNDLE, variants=variants)
    text = " ".join(inspect_report.as_text(bundle, "1", WHOLE).split())
    assert "consistency" not in text
    assert ("fp32: not verified." in text) == (reference == "none")


def test_lines_fit_a_wide_terminal() -> None:
    assert max(map(len, inspect_report.as_text(BUNDLE, "3", WHOLE).splitlines())) <= 120


def test_columns_stand_under_each_other() -> None:
    assert table([["name", "n"], ["a", "100"], ["long one", "7"]]) == (
        "name        n\na         100\nlong one    7"
    )
    assert [size(n) for n in (7, 1500, 90_400_000)] == ["7 B", "1.5 kB", "90.4 MB"]

"""A manifest of this schema and of the one before it is read; every other one is refused."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from predictor.bundle.manifest import (
    MANIFEST,
    READABLE_SCHEMAS,
    SCHEMA,
    TOKENIZER,
    Bundle,
    Variant,
    VariantName,
    check_proven,
    read_bundle,
    sha256,
)
from predictor.bundle.proof import Proof
from predictor.errors import BadModel, IncompleteModel
from predictor.types import Pooling


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole bundle of small files, as it is published today."""
    (tmp_path / "model.onnx").write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    (tmp_path / "model.onnx.data").write_bytes(bytes(64))
    (tmp_path / TOKENIZER).write_text("{}")
    bundle = Bundle(
        source_digest="0",
        family="bert",
        max_length=8,
        dimensions=4,
        pooling=Pooling.MEAN,
        normalize=True,
        inputs="packed",
        files={path.name: sha256(path) for path in sorted(tmp_path.iterdir())},
        variants={
            "fp32": Variant(graph="model.onnx", proof=Proof(reference="none", tolerance=1.0))
        },
    )
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(bundle))
    return tmp_path


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return content


def rewrite(folder: Path, **changes: Any) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest_of(folder) | changes))


def as_schema_2(folder: Path) -> None:
    """The manifest as schema 2 had it: without tasks."""
    content = manifest_of(folder) | {"schema": 2}
    del content["tasks"]
    (folder / MANIFEST).write_text(json.dumps(content))


def test_a_manifest_names_its_schema_and_its_tasks(folder: Path) -> None:
    content = manifest_of(folder)
    assert (content["schema"], content["tasks"]) == (3, ["embed"])


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert (bundle.schema, bundle.tasks) == (SCHEMA, ("embed",))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(bundle))
    assert read_bundle(folder) == bundle


def test_a_model_of_schema_2_embeds(folder: Path) -> None:
    written = read_bundle(folder)
    as_schema_2(folder)
    bundle = read_bundle(folder)
    assert (bundle.schema, bundle.tasks) == (2, ("embed",))
    assert msgspec.structs.replace(bundle, schema=SCHEMA) == written


def test_the_digest_does_not_depend_on_schema_and_tasks(folder: Path) -> None:
    one_file = {"model.onnx": hashlib.sha256(b"graph").hexdigest()}
    bundle = msgspec.structs.replace(read_bundle(folder), files=one_file)
    assert bundle.revision == "92cbd002c3c1"
    revision = "d15dd8d92144"
    assert read_bundle(folder).revision == revision
    rewrite(folder, tasks=["embed", "rerank"])
    assert read_bundle(folder).revision == revision
    as_schema_2(folder)
    assert read_bundle(folder).revision == revision


def test_tasks_that_this_release_does_not_know_are_left_to_the_server(folder: Path) -> None:
    rewrite(folder, tasks=["embed", "paint"])
    assert read_bundle(folder).tasks == ("embed", "paint")


@pytest.mark.parametrize("tasks", ["embed", [1], {"embed": True}, None])
def test_tasks_that_are_no_list_of_names_are_refused(folder: Path, tasks: Any) -> None:
    rewrite(folder, tasks=tasks)
    with pytest.raises(BadModel, match="not a readable manifest"):
        read_bundle(folder)


@pytest.mark.parametrize("schema", [-1, 0, 1, 4, 99])
def test_a_manifest_of_another_schema_is_refused_by_its_number(folder: Path, schema: int) -> None:
    assert schema not in READABLE_SCHEMAS
    rewrite(folder, schema=schema)
    with pytest.raises(BadModel, match=f"schema {schema}; this server reads schemas 2 and 3"):
        read_bundle(folder)


# Files that a bundle leads to


OUTSIDE = ("/etc/passwd", "../secret", "a/b", "a\\b", ".hidden", "..", ".", "", "nul\0")


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file, and list it if its name may be listed."""
    (folder / name).write_bytes(content)
    rewrite(folder, files=manifest_of(folder)["files"] | {name: sha256(folder / name)})


def with_table(folder: Path, file: str) -> None:
    table = {"name": "t", "file": file, "offset": 0, "shape": [1]}
    variant = manifest_of(folder)["variants"]["fp32"] | {"mapped": [table]}
    rewrite(folder, variants={"fp32": variant})


def with_graph(folder: Path, file: str) -> None:
    variant = manifest_of(folder)["variants"]["fp32"] | {"graph": file}
    rewrite(folder, variants={"fp32": variant})


def with_listed(folder: Path, file: str) -> None:
    rewrite(folder, files=manifest_of(folder)["files"] | {file: "0" * 64})


def external(location: str) -> Any:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_initializer(location: str) -> Any:
    return onnx.ModelProto(graph=onnx.GraphProto(initializer=[external(location)]))


def in_subgraph(location: str) -> Any:
    branch = onnx.GraphProto(initializer=[external(location)])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch)
    return onnx.ModelProto(graph=onnx.GraphProto(node=[node]))


def in_constant(location: str) -> Any:
    node = helper.make_node("Constant", [], ["y"], value=external(location))
    return onnx.ModelProto(functions=[onnx.FunctionProto(name="f", node=[node])])


def in_sparse(location: str) -> Any:
    sparse = onnx.SparseTensorProto(values=external(location))
    return onnx.ModelProto(graph=onnx.GraphProto(sparse_initializer=[sparse]))


PLACES = (in_initializer, in_subgraph, in_constant, in_sparse)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("lead", [with_table, with_graph, with_listed])
def test_a_manifest_leads_to_plain_names_only(
    folder: Path, lead: Callable[[Path, str], None], name: str
) -> None:
    lead(folder, name)
    with pytest.raises(BadModel, match="names a file outside of its folder"):
        read_bundle(folder)


@pytest.mark.parametrize("name", [*OUTSIDE, "*/_ORT_MEM_ADDR_/*"])
@pytest.mark.parametrize("place", PLACES)
def test_a_graph_leads_to_plain_names_only(
    folder: Path, place: Callable[[str], Any], name: str
) -> None:
    write(folder, "model.onnx", place(name).SerializeToString())
    with pytest.raises(BadModel, match=r"model\.onnx: names a file outside of its folder"):
        read_bundle(folder)


@pytest.mark.parametrize("lead", [with_table, with_graph])
def test_what_a_manifest_leads_to_is_listed(
    folder: Path, lead: Callable[[Path, str], None]
) -> None:
    (folder / "other").write_bytes(bytes(4))
    lead(folder, "other")
    with pytest.raises(BadModel, match="needs 'other', which `files` of"):
        read_bundle(folder)


@pytest.mark.parametrize("place", PLACES)
def test_what_a_graph_leads_to_is_listed(folder: Path, place: Callable[[str], Any]) -> None:
    (folder / "other").write_bytes(bytes(4))
    write(folder, "model.onnx", place("other").SerializeToString())
    with pytest.raises(BadModel, match="needs 'other', which `files` of"):
        read_bundle(folder)
    write(folder, "model.onnx", place("model.onnx.data").SerializeToString())
    assert read_bundle(folder).files["model.onnx"]


@pytest.mark.parametrize("name", ["model.onnx", TOKENIZER])
def test_graph_and_tokenizer_are_listed(folder: Path, name: str) -> None:
    files = manifest_of(folder)["files"]
    del files[name]
    choices: tuple[dict[str, str], ...] = (files, {})
    for listed in choices:
        rewrite(folder, files=listed)
        with pytest.raises(BadModel, match="which `files` of"):
            read_bundle(folder)


def test_the_canonical_vectors_of_a_proven_variant_are_listed(folder: Path) -> None:
    variant = manifest_of(folder)["variants"]["fp32"]
    variant["proof"]["reference"] = "self"
    rewrite(folder, variants={"fp32": variant})
    with pytest.raises(BadModel, match=r"needs 'canonical\.npz'"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", TOKENIZER])
def test_a_link_is_no_file_of_a_bundle(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(folder / "target")
    (folder / name).symlink_to("target")
    with pytest.raises(BadModel, match=f"{name}: a link"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"graph", b"\x3a\x05ab", b"\x08", b"\x0b", b"\xff" * 11, b"\x0d\x00"],
)
def test_a_graph_that_cannot_be_read_is_refused(folder: Path, content: bytes) -> None:
    write(folder, "model.onnx", content)
    with pytest.raises(BadModel, match="not a readable ONNX file"):
        read_bundle(folder)


def test_messages_within_messages_end_somewhere(folder: Path) -> None:
    graph = onnx.GraphProto(initializer=[external("x")])
    for _ in range(25):
        graph = onnx.GraphProto(node=[helper.make_node("If", ["c"], ["y"], then_branch=graph)])
    write(folder, "model.onnx", onnx.ModelProto(graph=graph).SerializeToString())
    with pytest.raises(BadModel, match="messages within messages"):
        read_bundle(folder)


def test_a_damaged_file_is_incomplete(folder: Path) -> None:
    (folder / "model.onnx.data").write_bytes(bytes(63))
    with pytest.raises(IncompleteModel, match="differs from the digest"):
        read_bundle(folder)


# The bar that a bundle sets itself


@pytest.mark.parametrize(
    ("variant", "tolerance", "is_taken"),
    [
        ("fp32", 0.99999, True),
        ("fp32", 0.9999, False),
        ("int8", 0.999, True),
        ("int8", -1.0, False),
        ("int8-weights", 0.9999, True),
        ("int8-weights", 0.999, False),
        ("fp16", 0.9999, True),
        ("fp16", 0.5, False),
    ],
)
def test_a_tolerance_has_a_floor(
    folder: Path, variant: VariantName, tolerance: float, is_taken: bool
) -> None:
    proof = Proof(reference="self", tolerance=tolerance)
    bundle = msgspec.structs.replace(
        read_bundle(folder), variants={variant: Variant(graph="model.onnx", proof=proof)}
    )
    if is_taken:
        check_proven(folder, bundle)
        return
    with pytest.raises(BadModel, match=f"variant {variant} has tolerance {tolerance}; a server"):
        check_proven(folder, bundle)


def test_a_variant_without_a_proof_is_not_served(folder: Path) -> None:
    with pytest.raises(BadModel, match="variant fp32 is not proven"):
        check_proven(folder, read_bundle(folder))


# Any part may be something else


REPLACEMENTS: tuple[Any, ...] = (None, -1, 1.5, 1 << 70, "", "/etc/passwd", [], {}, [[]], True)


def places(content: Any) -> Iterator[tuple[Any, ...]]:
    """The ways to the parts of a JSON value."""
    if isinstance(content, dict):
        for key, part in content.items():
            yield (key,)
            yield from ((key, *rest) for rest in places(part))


def test_a_part_of_another_kind_is_refused_or_read(folder: Path) -> None:
    with_table(folder, "model.onnx.data")
    original = manifest_of(folder)
    ways = list(places(original))
    assert ("variants", "fp32", "proof", "tolerance") in ways
    for way in ways:
        for value in REPLACEMENTS:
            content = json.loads(json.dumps(original))
            part = content
            for key in way[:-1]:
                part = part[key]
            part[way[-1]] = value
            (folder / MANIFEST).write_text(json.dumps(content))
            with contextlib.suppress(BadModel):
                check_proven(folder, read_bundle(folder))

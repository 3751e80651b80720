"""What goes wrong while exporting: damaged models, full disks. One line, nothing left."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from predictor.extras import install
from tests.integration.test_export import export, left_in
from tests.reference.families.folders import assemble, sharded

# The command on a machine where the libraries of `predictor[torch]` are not installed.
WITHOUT_TORCH = (
    "-c",
    "import sys;"
    "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'sentence_transformers']));"
    "from predictor.cli import main; main()",
)
INSTALL = install("torch")
WEIGHTS = "model.safetensors"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A directory of a BERT with three small layers, to be damaged."""
    return assemble("bert", tmp_path / "tiny")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# Damaged and unsupported models


def config(name: str = "config.json", **changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_bytes()) | changes
        (folder / name).write_text(json.dumps(content))

    return change


def weight(name: str, change: Callable[[Any], Any]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        tensors[name] = np.ascontiguousarray(change(tensors[name]))
        save_file(tensors, folder / WEIGHTS)

    return damage


def written(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def cut(name: str, share: float = 0.5) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def all_of(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [change(folder) for change in changes]


def pickled(folder: Path) -> None:
    """No real pickle is needed: without torch it is not opened."""
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def with_modules(*kinds: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        listed = [
            {
                "idx": i,
                "name": str(i),
                "path": f"{i}_{kind}" if i else "",
                "type": f"sentence_transformers.models.{kind}",
            }
            for i, kind in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(listed))

    return change


def with_dense(activation: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with_modules("Transformer", "Pooling", "Dense")(folder)
        (folder / "2_Dense").mkdir()
        settings = {"in_features": 32, "out_features": 8, "activation_function": activation}
        (folder / "2_Dense" / "config.json").write_text(json.dumps(settings))

    return change


SECOND_SHARD = "model-00002-of-00002.safetensors"
WORDS = "embeddings.word_embeddings.weight"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (without(WEIGHTS), f"tiny: has no weights ({WEIGHTS})"),
    "truncated weights": (cut(WEIGHTS), f"{WEIGHTS}: not a readable safetensors file"),
    "another shape": (
        weight("embeddings.LayerNorm.bias", lambda a: a[:8]),
        "'embeddings.LayerNorm.bias' has shape [8]",
    ),
    "not a number": (
        weight("encoder.layer.1.output.dense.bias", lambda a: a * np.float32("nan")),
        "vectors that are not finite numbers",
    ),
    "a missing layer": (config(num_hidden_layers=4), "has no tensor 'encoder.layer.3."),
    "a missing shard": (
        all_of(sharded, without(SECOND_SHARD)),
        f"{SECOND_SHARD}: cannot be read: No such file or directory",
    ),
    "a truncated shard": (
        all_of(sharded, cut(SECOND_SHARD)),
        f"{SECOND_SHARD}: not a readable safetensors file",
    ),
    "a damaged index of shards": (
        all_of(sharded, written(f"{WEIGHTS}.index.json", b"[]")),
        f"{WEIGHTS}.index.json: not an index of shards",
    ),
    "an unknown family": (config(model_type="mamba"), f"family 'mamba' has no builder, {INSTALL}"),
    "a pickle": (pickled, f"a pickle, which is read through torch only; {INSTALL}, or save"),
    "an unknown pooling": (
        written("1_Pooling/config.json", b'{"pooling_mode": "median"}'),
        "pooling median is not supported; known are cls, ",
    ),
    "an unknown module": (
        with_modules("Transformer", "Pooling", "Router"),
        ".models.Router' is not supported; known are ",
    ),
    "an unknown activation": (
        config(hidden_act="mish"),
        "activation 'mish' is not supported; known are gelu, ",
    ),
    "an unknown activation of a module": (
        with_dense("torch.nn.modules.activation.Mish"),
        "2_Dense: activation 'Mish' is not supported; known are Identity, ",
    ),
    "more ids than rows": (
        all_of(config(vocab_size=300), weight(WORDS, lambda a: a[:300])),
        "tokenizer.json has 320 ids, the model's table has 300",
    ),
    "no tokenizer": (
        without("tokenizer.json"),
        "has no tokenizer.json, and no vocabulary that one could be made from",
    ),
    "a truncated tokenizer": (cut("tokenizer.json"), "tokenizer.json: not a readable tokenizer"),
    "a config that is no JSON": (cut("config.json"), "config.json: not readable JSON"),
    "no model": (
        all_of(shutil.rmtree, Path.mkdir),
        "tiny: no config.json or modules.json; folders in it that have one: none",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_model_that_cannot_be_exported_is_one_line_with_a_hint(
    tiny: Path, out: Path, damage: str
) -> None:
    break_it, sentence = DAMAGES[damage]
    break_it(tiny)
    line = export(tiny, "-o", out, through=WITHOUT_TORCH).refusal()
    for part in sentence.split(f", {INSTALL}"):
        assert part in line
    assert (INSTALL in sentence) == (INSTALL in line)
    assert left_in(out) == []


def test_what_cannot_be_read_is_not_called_unwritable(tiny: Path, out: Path) -> None:
    (tiny / WEIGHTS).chmod(0)
    line = export(tiny, "-o", out, through=WITHOUT_RIGHTS).refusal()
    assert line == f"{tiny / WEIGHTS}: cannot be read: Permission denied"


# Places that cannot be written

# A process of root that has only the rights that the files give it: PR_CAPBSET_DROP (24) of
# CAP_DAC_OVERRIDE (1) and CAP_DAC_READ_SEARCH (2).
WITHOUT_RIGHTS = (
    "-c",
    "import ctypes, os, sys;"
    "[ctypes.CDLL(None).prctl(24, number, 0, 0, 0) for number in (1, 2)];"
    "os.execv(sys.executable, [sys.executable, '-m', 'predictor', *sys.argv[1:]])",
)


@pytest.mark.parametrize(
    ("mode", "what"), [(0o555, "written"), (0o311, "listed"), (0o000, "listed")]
)
def test_an_output_folder_without_the_right_to_write_list_or_enter(
    tiny: Path, out: Path, mode: int, what: str
) -> None:
    out.mkdir()
    out.chmod(mode)
    try:
        line = export(tiny, "-o", out, through=WITHOUT_RIGHTS).refusal()
    finally:
        out.chmod(0o755)
    assert line == f"{out}: cannot be {what} (Permission denied); give another -o"
    assert left_in(out) == []


def test_an_output_folder_in_a_place_that_may_not_be_entered(tiny: Path, out: Path) -> None:
    out.mkdir(mode=0)
    try:
        line = export(tiny, "-o", out / "model", through=WITHOUT_RIGHTS).refusal()
    finally:
        out.chmod(0o755)
    assert "model: cannot be written (Permission denied); give another -o" in line


def test_an_output_folder_that_is_a_file_stays_that_file(tiny: Path, out: Path) -> None:
    out.write_text("mine")
    for place in (out, out / "model"):
        line = export(tiny, "-o", place).refusal()
        assert line.startswith(f"{place}: cannot be written (")
    assert out.read_text() == "mine"


def limited(size: int) -> tuple[str, ...]:
    """No file of more than `size` bytes, as on a disk that gets full."""
    return (
        "-c",
        f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
        "os.execv(sys.executable, [sys.executable, '-m', 'predictor', *sys.argv[1:]])",
    )


# Of 17 kB of graph, 134 kB of weights, up to 200 kB of a variant's, 420 kB and more of vectors.
@pytest.mark.parametrize("size", [60_000, 150_000, 300_000])
def test_a_file_that_cannot_grow_is_one_line(tiny: Path, out: Path, size: int) -> None:
    line = export(tiny, "-o", out, "--variants", "int8-weights", through=limited(size)).refusal()
    assert line == f"{out}: cannot be written (File too large); give another -o"
    assert left_in(out) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    flags = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.call(flags, stderr=subprocess.DEVNULL):
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line(tiny: Path, small_disk: Path) -> None:
    line = export(tiny, "-o", small_disk / "model").refusal()
    assert line == (
        f"{small_disk / 'model'}: cannot be written (No space left on device); give another -o"
    )
    assert left_in(small_disk / "model") == []


def test_a_full_disk_for_unpacking_is_one_line(tiny: Path, small_disk: Path, out: Path) -> None:
    (tiny / "README.md").write_text("word " * 100_000)
    packed = shutil.make_archive(str(tiny), "zip", tiny)
    line = export(packed, "-o", out, environment={"TMPDIR": str(small_disk)}).refusal()
    assert line == f"{packed}: cannot be unpacked: No space left on device"
    assert left_in(small_disk) == left_in(out) == []

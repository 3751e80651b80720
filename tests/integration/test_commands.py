"""The commands `inspect`, `compare` and `bench` as a user runs them: output, codes, every fault."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from predictor.bundle.source import read_source
from predictor.export.convert import convert_cached
from tests.command import run_command
from tests.integration.test_plain_onnx import write_model, write_tokenizer
from tests.serving import Server, model_flags
from tests.unit.export.test_convert import SMALL, small_weights

WIDTH = 32
WORDS = ("abc", "abd", "xyz", "klm", "zzz")


def run(*arguments: object, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    """The command's exit code, standard output and standard error."""
    ended = run_command(*arguments, stdin=stdin, environment=environment)
    return ended.code, ended.out, ended.err


def source(folder: Path, change: float = 0.0) -> Path:
    """A Hugging Face directory of a BERT with one small layer; `change` makes it another model."""
    folder.mkdir()
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(SMALL))
    weights = small_weights()
    weights["encoder.layer.0.output.dense.bias"] += np.float32(change)
    weights["encoder.layer.0.output.dense.bias"][::2] -= np.float32(2 * change)
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def plain(place: Path) -> Path:
    """A directory that is no bundle yet."""
    return source(place / "plain")


@pytest.fixture(scope="module")
def bundle(place: Path, plain: Path) -> Path:
    """A model folder with one version."""
    return convert_cached(read_source(plain), place / "cache", 1).parent


@pytest.fixture(scope="module")
def moved(place: Path) -> Path:
    """A model whose vectors are near those of `bundle`."""
    folder = source(place / "moved", 0.05)
    return convert_cached(read_source(folder), place / "cache", 1)


@pytest.fixture(scope="module")
def texts(place: Path) -> Path:
    path = place / "texts.txt"
    lines = ["hello", "", *(f"{word} {word[::-1]}" for word in WORDS)]
    path.write_text("\n".join([*lines, "hello"]) + "\n")
    return path


@pytest.fixture(scope="module")
def served(place: Path, bundle: Path) -> Iterator[Server]:
    flags = model_flags(bundle, place / "server-cache")
    running = Server(*flags, "--drain-delay-s=0", "--max-client-batch-size=64")
    yield running
    assert running.stop() == 0


# inspect


def test_inspect_tells_what_a_bundle_is(bundle: Path) -> None:
    code, out, err = run("inspect", bundle)
    assert (code, err) == (0, "")
    for part in ("family      bert", "dimensions  32", "version 1, revision ", "consistency"):
        assert part in out
    assert run("inspect", bundle / "1")[1] == out


def test_inspect_shows_the_newest_version(bundle: Path, moved: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle / "1", tmp_path / "9")
    shutil.copytree(moved, tmp_path / "10")
    content = json.loads(run("inspect", tmp_path, "--json")[1])
    assert content["version"] == "10"
    assert content["revision"] == json.loads(run("inspect", moved, "--json")[1])["revision"]
    assert set(content["sizes"]["files"]) == set(content["files"])


def test_inspect_prints_the_schema() -> None:
    code, out, _ = run("inspect", "--schema")
    assert code == 0
    assert "Bundle" in json.loads(out)["$defs"]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _write_number(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (lambda b: _flip(b / "model.onnx.data"), "differs from the digest"),
    "a file is gone": (lambda b: (b / "tokenizer.json").unlink(), "missing, though bundle.json"),
    "another schema": (lambda b: _write_number(b / "bundle.json"), "schema 99; this server reads"),
    "no manifest": (lambda b: (b / "bundle.json").write_text("{"), "not a readable manifest"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_inspect_of_a_damaged_bundle_is_one_line(bundle: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(bundle / "1", tmp_path / "1")
    break_it, sentence = DAMAGES[damage]
    break_it(tmp_path / "1")
    one_line(1, sentence, "inspect", tmp_path)


def one_line(code: int, sentence: str, *arguments: object, stdin: str = "") -> None:
    """The command ends with that code and says that, in one line after what it logged."""
    status, _, err = run(*arguments, stdin=stdin)
    assert status == code, err
    (line,) = [line for line in err.splitlines() if line.startswith("predictor: ")]
    assert err.splitlines()[-1] == line
    assert sentence in line
    assert "Traceback" not in err


def test_inspect_without_a_bundle(plain: Path, tmp_path: Path) -> None:
    one_line(2, "name a directory", "inspect")
    one_line(2, "nowhere: no such directory", "inspect", tmp_path / "nowhere")
    one_line(1, "no model here", "inspect", tmp_path)
    code, out, err = run("inspect", plain)
    assert (code, err) == (0, "")
    assert f"predictor serve --model-dir {plain}" in out


# compare


def test_compare_a_bundle_with_its_source(bundle: Path, plain: Path, tmp_path: Path) -> None:
    code, out, err = run("compare", bundle, plain, "--min-cosine", "0.99999", TMPDIR=str(tmp_path))
    assert code == 0, err
    assert "cosine      min 1.0000000" in out
    assert "all thresholds are met" in out
    assert not list(tmp_path.iterdir()), "what was converted was left behind"


def test_compare_with_a_server(bundle: Path, served: Server, texts: Path) -> None:
    for url in (served.url, f"{served.url}/v2/models/minilm"):
        code, out, err = run("compare", bundle, url, "--texts", texts, "--json")
        assert code == 0, err
        content = json.loads(out)
        assert content["cosine"]["min"] == pytest.approx(1, abs=1e-9)
        assert content["texts"] == 6  # empty lines and repeated ones do not count
        assert content["neighbours"] == 2
        assert content["a"]["unit"] is content["b"]["unit"] is False
        assert "minilm, version 1, fp32, revision " in content["b"]["model"]
        assert content["missed"] == []


def test_compare_misses_thresholds(bundle: Path, moved: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    limits = ("--min-cosine", "0.99999", "--min-overlap", "1")
    code, out, err = run("compare", bundle, moved, *limits, "--plot", picture)
    assert code == 1
    assert "differ most" in out
    missed = err.splitlines()[-1]
    assert missed.startswith("predictor: thresholds missed: smallest cosine 0.")
    assert "--min-cosine 0.99999; mean neighbour overlap 0." in missed
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, out, _ = run("compare", bundle, moved)
    assert code == 0
    assert "no threshold was given" in out


def test_compare_another_width_from_stdin(bundle: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "letters")
    flags = ("--texts", "-", "--json", "--min-cosine", "0.5")
    code, out, err = run("compare", bundle, other, *flags, stdin="a\nb\nc\nd\n")
    assert code == 1
    content = json.loads(out)
    assert content["cosine"] is None
    assert content["overlap"]["mean"] >= 0
    assert "not defined (the dimensions differ)" in err.splitlines()[-1]


def test_compare_asks_for_a_variant(bundle: Path, served: Server) -> None:
    code, out, _ = run("compare", bundle, bundle, "--variant-a", "fp32", "--variant-b", "fp32")
    assert code == 0
    assert "bert, fp32" in out
    one_line(1, "no variant 'int8'; it has fp32", "compare", bundle, bundle, "--variant-b", "int8")
    one_line(2, "'fp8' is not one of", "compare", bundle, bundle, "--variant-a", "fp8")
    refused = ("compare", served.url, bundle, "--variant-a", "fp32")
    one_line(2, "a running server has chosen its variant", *refused)


def test_compare_with_what_is_not_there(bundle: Path, served: Server, tmp_path: Path) -> None:
    one_line(2, "no such directory, and no URL", "compare", bundle, tmp_path / "nowhere")
    one_line(1, "no model here", "compare", tmp_path, bundle)
    one_line(2, "cannot be reached (Connection refused)", "compare", "http://127.0.0.1:1", bundle)
    one_line(2, "not a server's URL", "compare", bundle, "http://127.0.0.1/embed")
    unserved = f"{served.url}/v2/models/gone"
    one_line(1, "404 Not Found: model 'gone' is not served", "compare", bundle, unserved)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--texts", "nowhere.txt"), "--texts nowhere.txt: cannot be read: No such file"),
        (("--texts", "-"), "--texts -: the file has no texts"),
        (("--min-cosine", "high"), "--min-cosine: 'high' is not a number"),
        (("--min-overlap", "1.5"), "--min-overlap: 1.5 is not between"),
        (("--plot", "out.jpeg"), "has to end in .png, .svg or .pdf"),
        (("--plot", "nowhere/out.png"), "there is no directory nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_compare_with_flags_that_are_wrong(
    bundle: Path, flags: tuple[str, ...], sentence: str
) -> None:
    one_line(2, sentence, "compare", bundle, bundle, *flags)


def test_compare_with_texts_that_are_no_text(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\n")
    flags = ("--texts", tmp_path / "bytes.txt")
    one_line(2, "bytes.txt: the content is not UTF-8", "compare", bundle, bundle, *flags)


# bench


def test_bench_tells_the_setting(bundle: Path) -> None:
    code, out, err = run("bench", bundle, "--seconds", "1", "--threads", "1,2")
    assert code == 0, err
    for part in ("MFLOP", "instruction sets", "2 runs of 1 thread", "--max-batch-tokens 2048"):
        assert part in out
    assert "fastest settings on this machine: --max-batch-tokens " in out.splitlines()[-1]
    assert "measuring: done in" in err


def test_bench_in_json_of_a_directory_that_is_converted(plain: Path) -> None:
    flags = ("--seconds", "1", "--threads", "1", "--variant", "fp32", "--json")
    code, out, err = run("bench", plain, *flags)
    assert code == 0, err
    content: dict[str, Any] = json.loads(out)
    assert content["flops_a_token"] == 2 * (4 * WIDTH * WIDTH + 2 * WIDTH * 64)
    assert {rate["batch_tokens"] for rate in content["rates"]} == {64, 128, 256, 512, 1024, 2048}
    assert all(rate["tokens_per_second"] > 0 for rate in content["rates"])
    assert all(0 < rate["share_of_peak"] < 1 for rate in content["rates"])
    assert content["setting"]["threads"] == 1


@pytest.mark.parametrize(
    ("code", "flags", "sentence"),
    [
        (2, ("--seconds", "0"), "--seconds: 0 is not between 1 and 3600"),
        (2, ("--seconds", "soon"), "--seconds: 'soon' is not a number"),
        (2, ("--threads", "1,x"), "--threads: '1,x' is not a list of numbers"),
        (2, ("--device", "tpu"), "--device: 'tpu' is not one of auto, cpu, cuda"),
        (1, ("--variant", "fp16"), "no variant 'fp16'; it has fp32"),
        (2, ("--variant", "best"), "--variant: 'best' is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bench_with_flags_that_are_wrong(
    bundle: Path, code: int, flags: tuple[str, ...], sentence: str
) -> None:
    one_line(code, sentence, "bench", bundle, *flags)


def test_bench_without_a_model(tmp_path: Path) -> None:
    one_line(2, "nowhere: no such directory", "bench", tmp_path / "nowhere")
    one_line(1, "no model here", "bench", tmp_path)


# The command line itself


@pytest.mark.parametrize("command", ["inspect", "compare", "bench"])
def test_help_has_examples(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"predictor {command} ./bundles" in out

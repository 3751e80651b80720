"""A source's digest names its conversion in the cache: the same model keeps the same digest."""

from dataclasses import replace
from pathlib import Path

from predictor.bundle.modules import HeadModule
from predictor.bundle.source import ModelSource
from predictor.export.draft import CONVERTER, digest_of
from predictor.types import Pooling


def source_in(folder: Path) -> ModelSource:
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "1_Dense").mkdir()
    (folder / "1_Dense" / "model.safetensors").write_bytes(b"dense")
    return ModelSource(
        folder=folder,
        transformer=folder,
        config={"model_type": "bert", "hidden_size": 8},
        family="bert",
        max_length=512,
        pooling=Pooling.CLS,
        normalize=True,
        head=(HeadModule("Dense", "1_Dense"),),
        prompts={"query": "query: "},
    )


def test_the_digest_of_a_source_is_that_of_earlier_releases(tmp_path: Path) -> None:
    source = source_in(tmp_path)
    assert CONVERTER == 2
    assert (
        digest_of(source, source.weights)
        == "af3753a1c9a9d66aa14ecb959c366a4c086b2819677296561b2524eb0d171134"
    )


def test_the_digest_does_not_depend_on_where_the_model_lies(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    digests = {
        digest_of(source, source.weights)
        for source in map(source_in, (tmp_path / "here", tmp_path / "there"))
    }
    assert len(digests) == 1


def test_every_setting_and_file_counts(tmp_path: Path) -> None:
    source = source_in(tmp_path)
    digests = [digest_of(source, source.weights)]
    for other in (
        replace(source, pooling=Pooling.MEAN),
        replace(source, max_length=256),
        replace(source, normalize=False),
        replace(source, prompts={}),
        replace(source, head=()),
        replace(source, lower_case=True),
        replace(source, config={**source.config, "layer_norm_eps": 1e-5}),
    ):
        digests.append(digest_of(other, other.weights))
    for path in (source.tokenizer, *source.weights, tmp_path / "1_Dense" / "model.safetensors"):
        path.write_bytes(path.read_bytes() + b" ")
        digests.append(digest_of(source, source.weights))
    assert len(set(digests)) == len(digests)

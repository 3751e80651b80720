"""What a folder is, from what it says of itself."""

from dataclasses import replace

import pytest

from predictor.bundle.folder_kind import FolderKind, FolderSigns, kind_of, refusal

BERT = FolderSigns(family="bert")
LISTED = (
    "sentence_transformers.models.Transformer",
    "sentence_transformers.models.Pooling",
)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("BertModel", FolderKind.EMBEDDER),
        ("XLMRobertaModel", FolderKind.EMBEDDER),
        ("NewModel", FolderKind.EMBEDDER),
        ("T5EncoderModel", FolderKind.EMBEDDER),
        ("BertForSequenceClassification", FolderKind.CLASSIFIER),
        ("BertForTokenClassification", FolderKind.TOKEN_CLASSIFIER),
        ("BertForQuestionAnswering", FolderKind.QUESTION_ANSWERING),
        ("BertForMaskedLM", FolderKind.SPARSE),
        ("BertForPreTraining", FolderKind.SPARSE),
        ("HF_ColBERT", FolderKind.MULTI_VECTOR),
        ("ColBERTModernBertModel", FolderKind.MULTI_VECTOR),
        ("Qwen3ForCausalLM", FolderKind.GENERATOR),
        ("GPT2LMHeadModel", FolderKind.GENERATOR),
        ("SomethingElse", FolderKind.UNKNOWN),
    ],
)
def test_an_architecture_says_it(architecture: str, kind: FolderKind) -> None:
    assert kind_of(replace(BERT, architectures=(architecture,))).kind is kind


def test_a_classifier_with_one_label_is_a_cross_encoder() -> None:
    signs = replace(BERT, architectures=("BertForSequenceClassification",), labels=1)
    assert kind_of(signs).kind is FolderKind.CROSS_ENCODER
    assert kind_of(replace(signs, labels=3)).kind is FolderKind.CLASSIFIER


def test_modules_go_before_architectures() -> None:
    """all-mpnet-base-v2 is an embedder, and its config.json names MPNetForMaskedLM."""
    signs = replace(BERT, modules=LISTED, architectures=("MPNetForMaskedLM",))
    assert kind_of(signs).kind is FolderKind.EMBEDDER


@pytest.mark.parametrize(
    ("signs", "kind"),
    [
        (replace(BERT, modules=LISTED, library_kind="CrossEncoder"), FolderKind.CROSS_ENCODER),
        (replace(BERT, modules=LISTED, library_kind="SparseEncoder"), FolderKind.SPARSE),
        (replace(BERT, modules=LISTED, library_kind="ColBERT"), FolderKind.MULTI_VECTOR),
        (replace(BERT, modules=LISTED, library_kind="Somebody's"), FolderKind.UNKNOWN),
        (replace(BERT, transformer_task="sequence-classification"), FolderKind.CROSS_ENCODER),
        (replace(BERT, modules=LISTED, transformer_task="fill-mask"), FolderKind.SPARSE),
        (replace(BERT, modules=LISTED, transformer_task="retrieval"), FolderKind.MULTI_VECTOR),
        (
            replace(BERT, modules=(LISTED[0], "pylate.models.Dense.Dense")),
            FolderKind.MULTI_VECTOR,
        ),
        (
            replace(
                BERT,
                modules=("sentence_transformers.sparse_encoder.models.MLMTransformer",),
            ),
            FolderKind.SPARSE,
        ),
        (replace(BERT, files={"artifact.metadata"}), FolderKind.MULTI_VECTOR),
        (
            replace(BERT, library_kind="SentenceTransformer", architectures=("BertForMaskedLM",)),
            FolderKind.EMBEDDER,
        ),
    ],
)
def test_the_files_of_a_library_say_it(signs: FolderSigns, kind: FolderKind) -> None:
    assert kind_of(signs).kind is kind


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        ("classifier.weight", FolderKind.CLASSIFIER),
        ("qa_outputs.weight", FolderKind.QUESTION_ANSWERING),
        ("cls.predictions.bias", FolderKind.SPARSE),
        ("lm_head.dense.weight", FolderKind.SPARSE),
        ("linear.weight", FolderKind.MULTI_VECTOR),
        ("embeddings.word_embeddings.weight", FolderKind.EMBEDDER),
    ],
)
def test_tensors_say_it_where_nothing_else_does(tensor: str, kind: FolderKind) -> None:
    assert kind_of(replace(BERT, tensors={tensor})).kind is kind
    named = replace(BERT, tensors={tensor}, architectures=("BertModel",))
    assert kind_of(named).kind is FolderKind.EMBEDDER


def test_an_assumption_is_marked() -> None:
    assert kind_of(BERT).assumed
    assert not kind_of(replace(BERT, architectures=("BertModel",))).assumed
    assert kind_of(FolderSigns()).kind is FolderKind.UNKNOWN


@pytest.mark.parametrize("kind", FolderKind)
def test_only_an_embedder_is_served_and_others_are_refused_by_name(kind: FolderKind) -> None:
    verdict = replace(kind_of(BERT), kind=kind)
    why_not = refusal(verdict)
    if kind is FolderKind.EMBEDDER:
        assert why_not is None
    else:
        assert why_not is not None
        assert verdict.sign in why_not
        assert kind is FolderKind.UNKNOWN or kind.value in why_not

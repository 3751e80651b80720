"""What a library raises becomes an error of ours, whatever its class."""

import asyncio
import errno
import os

import pytest

from predictor.errors import (
    BadModel,
    EngineError,
    InvalidInput,
    NoMemory,
    NoResources,
    PredictorError,
    WrongVectors,
)
from predictor.wall import load_error, of_its_kind, run_error, system_error


class Panic(BaseException):
    """As pyo3's PanicException: no Exception."""


SECRET = "the text of a user"
ENDINGS = [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), asyncio.CancelledError()]


def test_a_panic_while_loading_is_a_bad_model_without_its_text() -> None:
    error = load_error("tokenizer.json: not readable", Panic(SECRET))
    assert type(error) is BadModel
    assert str(error) == "tokenizer.json: not readable: the library panicked"


def test_an_exception_while_loading_says_its_first_line() -> None:
    assert str(load_error("f", ValueError("one\ntwo"))) == "f: one"
    assert str(load_error("f", ValueError())) == "f: ValueError"


def test_memory_that_is_short_while_loading_is_not_the_models_fault() -> None:
    assert type(load_error("f", MemoryError())) is NoMemory


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("cannot be written (No space left on device); give another -o", NoResources),
        ("Too many open files (os error 24)", NoResources),
        ("Cannot allocate memory", NoMemory),
        ("Permission denied", BadModel),
    ],
)
def test_what_the_system_lacks_is_not_the_models_fault(text: str, kind: type[BadModel]) -> None:
    for error in (load_error("f", Exception(text)), of_its_kind(BadModel(text))):
        assert type(error) is kind
        assert text in str(error)


def test_an_error_of_the_system_has_its_kind() -> None:
    assert type(system_error("f", OSError(errno.EMFILE, "Too many open files"))) is NoResources
    assert type(system_error("f", OSError(errno.EACCES, "Permission denied"))) is BadModel
    wrong = WrongVectors(os.strerror(errno.ENOSPC))
    assert of_its_kind(wrong) is wrong


@pytest.mark.parametrize("error", [Panic(SECRET), RuntimeError(SECRET), MemoryError(SECRET)])
def test_an_error_of_a_request_says_nothing_of_it(error: BaseException) -> None:
    answered = run_error("the tokenizer", error)
    assert type(answered) is EngineError
    assert str(answered) == "the tokenizer failed on this request"


@pytest.mark.parametrize("error", [InvalidInput("a"), BadModel("b")])
def test_our_own_errors_stay_as_they_are(error: PredictorError) -> None:
    assert run_error("the tokenizer", error) is error
    assert load_error("f", error) is error


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: type(ending).__name__)
def test_endings_are_no_faults(ending: BaseException) -> None:
    for behind_the_wall in (load_error, run_error):
        with pytest.raises(type(ending)):
            behind_the_wall("f", ending)

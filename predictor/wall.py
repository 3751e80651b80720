"""The wall around foreign code: what a native library raises becomes one of our errors.

A library written in Rust raises `PanicException`, which is a BaseException: it passes every
`except Exception`, ends the task or thread that it meets, and its text may quote what a user sent.
Each call of tokenizers, safetensors, ONNX Runtime, onnx, moka and protobuf that gets something of a
model folder or of a request stands behind one of these functions, in an `except BaseException`.
"""

import errno
import os
from asyncio import CancelledError

from predictor.errors import BadModel, EngineError, NoMemory, NoResources, PredictorError

# Not faults: how Python and asyncio end something.
ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError)

# What the system says when something has run out that may be there again later.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
NO_ROOM_TEXTS = tuple(os.strerror(number) for number in NO_ROOM)
NO_MEMORY_TEXT = os.strerror(errno.ENOMEM)


def load_error(what: str, error: BaseException) -> PredictorError:
    """The error to raise for a file of a model that a library could not read.

    Args:
        what: the beginning of the sentence, such as "tokenizer.json: not a readable tokenizer".
        error: what was raised; its text is left out if it is a panic.

    Raises:
        BaseException: the error itself, if it is an ending and no fault.
    """
    _pass_endings(error)
    if isinstance(error, PredictorError):
        return error
    if isinstance(error, MemoryError):
        return NoMemory(f"{what}: not enough memory")
    if not isinstance(error, Exception):
        return BadModel(f"{what}: the library panicked")
    return of_its_kind(BadModel(f"{what}: {first_line(error)}"))


def of_its_kind(error: BadModel) -> BadModel:
    """The error, or one that says the same of the surroundings if these are at fault.

    A library puts what the system says into its own words, so the text counts.
    """
    text = str(error)
    if type(error) is not BadModel:
        return error
    if NO_MEMORY_TEXT in text:
        return NoMemory(text)
    return NoResources(text) if any(sign in text for sign in NO_ROOM_TEXTS) else error


def system_error(what: str, error: OSError) -> BadModel:
    """The error to raise for a file or folder of a model that the system refuses."""
    return of_its_kind(BadModel(f"{what}: {error.strerror or error}"))


def run_error(what: str, error: BaseException) -> PredictorError:
    """The error to raise for a request that a library failed on. It says no word of the request.

    Args:
        what: the part of the server, such as "the tokenizer".

    Raises:
        BaseException: the error itself, if it is an ending and no fault.
    """
    _pass_endings(error)
    if isinstance(error, PredictorError):
        return error
    return EngineError(f"{what} failed on this request")


def _pass_endings(error: BaseException) -> None:
    if isinstance(error, ENDINGS):
        raise error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

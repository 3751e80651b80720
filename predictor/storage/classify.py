"""From an error of any client to one of six kinds and the client's own last line.

A dozen clients raise a hundred types of errors, and their workers hand some of them back as text.
The kind only decides which hint is given; the client's line says what happened.
"""

import re

from predictor.storage.failure import Escapes, Failure, FailureKind, NoModel
from predictor.storage.uri import mask_text

# Characters of the client's line that are shown.
MAX_DETAIL = 300
# Errors of a chain of causes that are read.
MAX_CHAIN = 20
HTTP_STATUS = re.compile(r"(?:\(|\[|status code )([345]\d\d)\b")
STATUSES = {
    401: FailureKind.DENIED,
    403: FailureKind.DENIED,
    404: FailureKind.NOT_FOUND,
    410: FailureKind.NOT_FOUND,
}
# What the lines "Type: text" of an error and its causes say. First of this machine: its disk is
# full, or a file or a Python package is missing, for which the client's line is enough.
LOCAL = (
    (FailureKind.NO_SPACE, re.compile(r"\[Errno (27|28|122)\]")),  # EFBIG, ENOSPC, EDQUOT
    (FailureKind.FAILED, re.compile(r"ModuleNotFoundError|\[Errno (1|13|30)\]")),
)
# Then of the store, where no HTTP status is known; the first that matches decides.
REMOTE = (
    (
        FailureKind.DENIED,
        re.compile(r"(?i)access ?denied|authentication|credentials|GatedRepo|RefreshError"),
    ),
    (
        FailureKind.NOT_FOUND,
        re.compile(r"(?i)not found|NoSuch(Key|Bucket)|No model found|does not exist|No such file"),
    ),
    (FailureKind.TIMED_OUT, re.compile(r"(?i)time(d ?)?out")),
    (
        FailureKind.UNREACHABLE,
        re.compile(
            r"(?i)gaierror|failed to resolve|service not known|connection|incompleteread"
            r"|could not connect|max retries exceeded"
        ),
    ),
)


def classify(error: BaseException) -> Failure:
    """The kind of a client's error, and its last line without secrets."""
    chain = _chain(error)
    detail = mask_text(" ".join(_last_line(chain).split()))[:MAX_DETAIL]
    return Failure(_kind(chain), detail)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes, the outermost first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < MAX_CHAIN:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _last_line(chain: list[BaseException]) -> str:
    """What the outermost error says, and in brackets the error that it began with."""
    outer, inner = chain[0], chain[-1]
    shown = str(outer) if isinstance(outer, Escapes | NoModel | RuntimeError) else _line(outer)
    return shown if inner is outer else f"{shown} ({_line(inner)})"


def _line(error: BaseException) -> str:
    """As Python ends a traceback, without the module."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _kind(chain: list[BaseException]) -> FailureKind:
    if isinstance(chain[0], Escapes | NoModel):
        return FailureKind.FAILED
    lines = "\n".join(map(_line, chain))
    for kind, pattern in LOCAL:
        if pattern.search(lines):
            return kind
    status = next(filter(None, map(status_of, chain)), None) or _status_in(lines)
    if status is not None:
        return STATUSES.get(status, FailureKind.UNREACHABLE)
    return next((kind for kind, pattern in REMOTE if pattern.search(lines)), FailureKind.FAILED)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of boto3, google, azure, requests or huggingface_hub holds."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        candidates = [response.get("ResponseMetadata", {}).get("HTTPStatusCode")]
    else:
        candidates = [getattr(response, "status_code", None)]
    candidates += [getattr(error, "status_code", None), getattr(error, "code", None)]
    return next((int(c) for c in candidates if isinstance(c, int) and 300 <= c < 600), None)


def _status_in(lines: str) -> int | None:
    match = HTTP_STATUS.search(lines)
    return int(match[1]) if match else None

"""What can go wrong while fetching: six kinds, and the errors that carry them."""

from enum import StrEnum

import msgspec

from predictor.errors import BadModel

# End of every message of `Escapes`.
LEADS_OUT = (
    "leads out of the model's folder; pack it again without '..', absolute paths, links to "
    "elsewhere and special files"
)


class FailureKind(StrEnum):
    """Why nothing was fetched, as far as the user's next step depends on it."""

    NOT_FOUND = "not_found"
    DENIED = "denied"
    UNREACHABLE = "unreachable"
    NO_SPACE = "no_space"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


class Failure(msgspec.Struct, frozen=True):
    """A fetch that failed."""

    kind: FailureKind
    # The client's last line, without secrets, or a sentence of our own.
    detail: str
    # What to do about it; empty: what the kind suggests.
    hint: str = ""


class FetchFailed(BadModel):
    """Nothing was fetched; the mirror is as it was."""

    reason = "fetch"

    def __init__(self, message: str, kind: FailureKind) -> None:
        super().__init__(message)
        self.kind = kind


class Escapes(Exception):
    """A file of the download would be written, or points, outside of its folder."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} {LEADS_OUT}")


class NoModel(Exception):
    """The download holds no model."""

"""What can go wrong while fetching, by meaning, and the errors that say so."""

from enum import StrEnum

import msgspec

from predictor.errors import BadModel

# Part of every message of Escapes: the workers of some clients hand back texts only.
LEADS_OUT = "leads out of the download"


class Reason(StrEnum):
    """Why nothing came."""

    DEADLINE = "deadline"
    STOPPED = "stopped"
    KILLED = "killed"
    FORBIDDEN = "forbidden"
    CREDENTIALS = "credentials"
    NOT_FOUND = "not_found"
    NO_MODEL = "no_model"
    NO_HOST = "no_host"
    UNREACHABLE = "unreachable"
    SLOW = "slow"
    STATUS = "status"
    DISK_FULL = "disk_full"
    DENIED = "denied"
    ARCHIVE = "archive"
    CONTENT_TYPE = "content_type"
    ESCAPES = "escapes"
    PACKAGE = "package"
    OTHER = "other"


class Failure(msgspec.Struct, frozen=True):
    """reason, what the sentence needs beside it, and the client's own words for the log."""

    reason: Reason
    detail: str = ""
    words: str = ""


class FetchFailed(BadModel):
    """Nothing was fetched; what was there before is untouched. `cause` is for decisions."""

    reason = "fetch"

    def __init__(self, message: str, cause: Reason) -> None:
        super().__init__(message)
        self.cause = cause


class Escapes(Exception):
    """Something in the download would be written, or points, outside of its folder."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} {LEADS_OUT}")


class NoModel(Exception):
    """What came holds no model."""

"""The one sentence that the user reads: the URI, what went wrong, and what to do about it."""

from pathlib import Path

from predictor.storage.failure import Failure, FailureKind, FetchFailed
from predictor.storage.uri import masked, store_of

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of the service account",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the role of the service account",
    "azure": "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or "
    "AZURE_STORAGE_ACCESS_KEY",
    "hf": "HF_TOKEN, and whether the model's conditions were accepted",
    "modelscope": "MODELSCOPE_API_TOKEN",
    "http": "the variable HOST-headers, or the signature in the URI, which may have expired",
    "https": "the variable HOST-headers, or the signature in the URI, which may have expired",
}
ENDPOINTS = {
    "s3": "AWS_ENDPOINT_URL, AWS_DEFAULT_REGION",
    "gs": "the proxy (HTTPS_PROXY)",
    "hf": "HF_ENDPOINT and the proxy (HTTPS_PROXY)",
}
# What each kind of failure is called before the client's own line.
PROBLEMS = {
    FailureKind.NOT_FOUND: "not found",
    FailureKind.DENIED: "access denied",
    FailureKind.UNREACHABLE: "cannot be reached",
    FailureKind.NO_SPACE: "no space left",
    FailureKind.TIMED_OUT: "timed out",
    FailureKind.FAILED: "cannot be fetched",
}


def fetch_failed(uri: str, failure: Failure, mirror: Path) -> FetchFailed:
    """The error for a failure; `mirror` is the folder that was written to."""
    sentence = f"{masked(uri)}: {PROBLEMS[failure.kind]}: {failure.detail}"
    hint = failure.hint or _hint(failure.kind, store_of(uri), mirror)
    return FetchFailed(f"{sentence}; {hint}" if hint else sentence, failure.kind)


def _hint(kind: FailureKind, store: str, mirror: Path) -> str:
    hints = {
        FailureKind.NOT_FOUND: "check the names in the URI",
        FailureKind.DENIED: f"check {CREDENTIALS.get(store, 'the credentials')}",
        FailureKind.UNREACHABLE: "check the URI, the network and "
        f"{ENDPOINTS.get(store, 'the proxy (HTTPS_PROXY)')}",
        FailureKind.NO_SPACE: f"free space on the disk of {mirror}, or give another --cache-dir",
        FailureKind.TIMED_OUT: "check the network, or raise --download-timeout-s",
        FailureKind.FAILED: "",  # the client's own line is all that is known
    }
    return hints[kind]

"""The one sentence that the user reads: the URI, what went wrong, and what to do about it."""

from predictor.storage.failure import Failure, FetchFailed, Reason
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


def failed(uri: str, failure: Failure, timeout_s: float, came: int, mirror: str) -> FetchFailed:
    """The error for what happened.

    Args:
        came: bytes that were there when it ended.
        mirror: the folder that was written to.
    """
    sentence = _sentence(uri, failure, timeout_s, came, mirror)
    return FetchFailed(f"{masked(uri)}: {sentence}", failure.reason)


def _sentence(uri: str, failure: Failure, timeout_s: float, came: int, mirror: str) -> str:
    store, detail = store_of(uri), failure.detail
    credentials = f"check {CREDENTIALS.get(store, 'the credentials')}"
    network = f"check the URI, the network and {ENDPOINTS.get(store, 'the proxy (HTTPS_PROXY)')}"
    sentences = {
        Reason.DEADLINE: f"not fetched within {timeout_s:g} s ({came / 1e6:.1f} MB came); check "
        "the network, or raise --download-timeout-s",
        Reason.STOPPED: "stopped before it was fetched",
        Reason.KILLED: f"the process that fetches was killed ({detail}), often for memory; raise "
        "the container's limit or fetch again",
        Reason.FORBIDDEN: f"access denied (403); {credentials}",
        Reason.CREDENTIALS: f"not signed in ({detail}); {credentials}",
        Reason.NOT_FOUND: "not found; check the names in the URI",
        Reason.NO_MODEL: f"{detail}; check the URI",
        Reason.NO_HOST: f"no such host; {network}",
        Reason.UNREACHABLE: f"cannot be reached ({detail}); {network}",
        Reason.SLOW: f"the server stopped answering; {network}",
        Reason.STATUS: f"the server answers with status {detail}; {_status_mend(detail, network)}",
        Reason.DISK_FULL: f"the disk of {mirror} is full; free space or give another --cache-dir",
        Reason.DENIED: f"{detail} cannot be read or written; check its permissions",
        Reason.ARCHIVE: f"the archive cannot be unpacked: {detail}; upload it again",
        Reason.CONTENT_TYPE: "the server does not say that this is an archive (Content-Type); "
        "give the URI of a .zip or .tar.gz and check what is behind it",
        Reason.ESCAPES: f"refused: {detail} leads out of the model's folder; pack it anew without "
        "'..', absolute paths, links to elsewhere and special files",
        Reason.PACKAGE: f"this kind of store needs the Python package {detail}; install it",
        Reason.OTHER: f"cannot be fetched ({detail}); the log has the client's words",
    }
    return sentences[failure.reason]


def _status_mend(status: str, network: str) -> str:
    return "try again later" if status == "429" or status.startswith("5") else network

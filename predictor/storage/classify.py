"""From an error of any client to what it means: a dozen of them raise a hundred kinds."""

import errno
import re
import socket
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence

from predictor.storage.failure import LEADS_OUT, Failure, NoModel, Reason
from predictor.storage.uri import mask_text

MAX_DETAIL = 200
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
UNPACKING = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
NO_CREDENTIALS = re.compile(
    r"NoCredentials|PartialCredentials|DefaultCredentials|GatedRepo|Refresh|Auth"
)
BROKEN = re.compile(r"Connection broken|IncompleteRead|Max Retries Exceeded")
CLIENT_ERROR = re.compile(r"An error occurred \((\w+)\)")
NO_RESOURCE = re.compile(r"\w+ resource( '.*')? not found")
HTTP_STATUS = re.compile(r"failed with status code (\d{3})")


def classify(error: BaseException) -> Failure:
    """The meaning of an error of any client; the first rule that knows it decides."""
    chain = _chain(error)
    texts = [str(link) for link in chain]
    words = mask_text(" ".join(f"{type(chain[0]).__name__}: {texts[0]}".split()))[:MAX_DETAIL]
    for rule in RULES:
        found = rule(chain, texts)
        if found is not None:
            reason, detail = found
            return Failure(reason, mask_text(" ".join(detail.split()))[:MAX_DETAIL], words)
    return Failure(Reason.OTHER, type(chain[-1]).__name__, words)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the outermost first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < 20:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


Chain = Sequence[BaseException]
Found = tuple[Reason, str] | None


def _escape(chain: Chain, texts: Sequence[str]) -> Found:
    for link, text in zip(chain, texts, strict=True):
        if isinstance(link, tarfile.FilterError):
            return Reason.ESCAPES, repr(link.tarinfo.name)
        if LEADS_OUT in text:
            return Reason.ESCAPES, text.split(LEADS_OUT)[0].rpartition(": ")[2].strip()
    return None


def _disk(chain: Chain, texts: Sequence[str]) -> Found:
    numbers = [link.errno for link in chain if isinstance(link, OSError)]
    if any(n in FULL for n in numbers) or any(f"[Errno {n}]" in t for n in FULL for t in texts):
        return Reason.DISK_FULL, ""
    for link in chain:
        if isinstance(link, OSError) and link.errno in DENIED and link.filename:
            return Reason.DENIED, str(link.filename)
    return None


def _package(chain: Chain, texts: Sequence[str]) -> Found:
    del texts
    missing = next((link for link in chain if isinstance(link, ModuleNotFoundError)), None)
    return (Reason.PACKAGE, str(missing.name)) if missing else None


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of boto3, google, azure, requests or huggingface_hub holds."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        candidates = [response.get("ResponseMetadata", {}).get("HTTPStatusCode")]
    else:
        candidates = [getattr(response, "status_code", None)]
    candidates += [getattr(error, "status_code", None), getattr(error, "code", None)]
    return next((int(c) for c in candidates if isinstance(c, int) and 300 <= c < 600), None)


def _status_in(text: str) -> int | None:
    """The same out of the texts that kserve-storage makes of some errors."""
    known = {
        "HTTP authentication failed": 401,
        "HTTP access denied": 403,
        "HTTP resource not found": 404,
        "AccessDenied": 403,
        "NoSuchKey": 404,
        "NoSuchBucket": 404,
    }
    match = HTTP_STATUS.search(text) or CLIENT_ERROR.search(text)
    if match and match[1].isdigit():
        return int(match[1])
    return next((number for phrase, number in known.items() if phrase in text), None)


def _refused(chain: Chain, texts: Sequence[str]) -> Found:
    for link, text in zip(chain, texts, strict=True):
        status = status_of(link) or _status_in(text)
        if status == 401:
            return Reason.CREDENTIALS, "401"
        if status == 403:
            return Reason.FORBIDDEN, "403"
        if status in (404, 410):
            return Reason.NOT_FOUND, str(status)
        if status:
            return Reason.STATUS, str(status)
    if any(NO_CREDENTIALS.search(type(link).__name__) for link in chain):
        return Reason.CREDENTIALS, "no credentials"
    return None


def _network(chain: Chain, texts: Sequence[str]) -> Found:
    if any(isinstance(link, socket.gaierror) for link in chain) or any(
        "Failed to resolve" in t or "Name or service not known" in t for t in texts
    ):
        return Reason.NO_HOST, ""
    if any("Connection refused" in text for text in texts):
        return Reason.UNREACHABLE, "connection refused"
    slow = any(isinstance(link, TimeoutError) or "Timeout" in type(link).__name__ for link in chain)
    if slow or any("Read timeout on endpoint" in text for text in texts):
        return Reason.SLOW, ""
    if any(BROKEN.search(text) for text in texts):
        return Reason.UNREACHABLE, "the connection broke"
    if any(isinstance(link, ConnectionError) for link in chain) or any(
        "Failed to connect" in text or "Could not connect" in text for text in texts
    ):
        return Reason.UNREACHABLE, "no connection"
    return None


def _content(chain: Chain, texts: Sequence[str]) -> Found:
    encrypted = any("password required" in text or "is encrypted" in text for text in texts)
    named = any(type(link).__name__ == "BadGzipFile" for link in chain)
    if encrypted or named or any(isinstance(link, UNPACKING) for link in chain):
        return Reason.ARCHIVE, "encrypted" if encrypted else "damaged, or not of its kind"
    if any("'Content-Type'" in text for text in texts):
        return Reason.CONTENT_TYPE, ""
    if isinstance(chain[0], NoModel):
        return Reason.NO_MODEL, texts[0]
    missing = ("No model found in", "does not exist", "No such file or directory")
    if any(phrase in text for phrase in missing for text in texts) or NO_RESOURCE.match(texts[0]):
        return Reason.NOT_FOUND, ""
    return None


RULES: tuple[Callable[[Chain, Sequence[str]], Found], ...] = (
    _escape,
    _disk,
    _package,
    _refused,
    _network,
    _content,
)

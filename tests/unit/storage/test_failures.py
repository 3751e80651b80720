"""From the errors of the clients to a kind and the sentence that the user reads."""

import importlib
import socket
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from huggingface_hub.errors import RepositoryNotFoundError
from urllib3.exceptions import IncompleteRead, ReadTimeoutError

from predictor.storage.classify import MAX_DETAIL, classify
from predictor.storage.failure import Escapes, Failure, FailureKind, NoModel
from predictor.storage.words import fetch_failed

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ImportWarning)  # it would like grpcio-status
    google: Any = importlib.import_module("google.api_core.exceptions")
google_auth: Any = importlib.import_module("google.auth.exceptions")
boto: Any = importlib.import_module("botocore.exceptions")


def s3(status: int, code: str = "") -> Exception:
    response: Any = {
        "Error": {"Code": code or str(status)},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error: Exception = boto.ClientError(response, "HeadBucket")
    return error


def hub(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    error = Exception("Repository Not Found")
    error.response = response  # type: ignore[attr-defined]
    return error


def wrapped(error: Exception, text: str = "S3 transfer failed.") -> Exception:
    """As kserve-storage does it: its own text, the client's error as the cause."""
    try:
        raise RuntimeError(text) from error
    except RuntimeError as outer:
        return outer


def pooled(text: str) -> Exception:
    """As its workers hand errors back: as text."""
    return RuntimeError(f"Failed to download 1 files: a/b.onnx: {text}")


MEMBER = tarfile.TarInfo("../evil")
ERRORS = {
    "s3 403": (wrapped(s3(403)), FailureKind.DENIED),
    "s3 404": (wrapped(s3(404)), FailureKind.NOT_FOUND),
    "s3 region": (wrapped(s3(301)), FailureKind.UNREACHABLE),
    "s3 busy": (wrapped(s3(503)), FailureKind.UNREACHABLE),
    "s3 object 403": (
        pooled("An error occurred (403) when calling the HeadObject operation: Forbidden"),
        FailureKind.DENIED,
    ),
    "s3 object denied": (
        pooled("An error occurred (AccessDenied) when calling the GetObject operation: no"),
        FailureKind.DENIED,
    ),
    "s3 object missing": (
        pooled("An error occurred (NoSuchKey) when calling the GetObject operation: no"),
        FailureKind.NOT_FOUND,
    ),
    "s3 credentials": (wrapped(boto.NoCredentialsError()), FailureKind.DENIED),
    "s3 endpoint": (
        boto.EndpointConnectionError(endpoint_url="http://h", error="Connection refused"),
        FailureKind.UNREACHABLE,
    ),
    "gs 403": (wrapped(google.Forbidden("no")), FailureKind.DENIED),
    "gs 404": (wrapped(google.NotFound("no")), FailureKind.NOT_FOUND),
    "gs credentials": (wrapped(google_auth.DefaultCredentialsError()), FailureKind.DENIED),
    "azure 404": (
        wrapped(ResourceNotFoundError("no"), "Azure resource 'c' not found."),
        FailureKind.NOT_FOUND,
    ),
    "azure credentials": (ClientAuthenticationError("no"), FailureKind.DENIED),
    "hf 401": (wrapped(hub(401)), FailureKind.DENIED),
    "hf 404": (wrapped(hub(404)), FailureKind.NOT_FOUND),
    "http 401": (
        RuntimeError("HTTP authentication failed for 'https://h/a?s=1'."),
        FailureKind.DENIED,
    ),
    "http 403": (RuntimeError("HTTP access denied for 'https://h/a?s=1'."), FailureKind.DENIED),
    "http 404": (RuntimeError("HTTP resource not found at 'https://h/a'."), FailureKind.NOT_FOUND),
    "http 500": (
        RuntimeError("HTTP request to 'https://h/a' failed with status code 500."),
        FailureKind.UNREACHABLE,
    ),
    "http type": (
        RuntimeError("URI: u did not respond with any of following 'Content-Type': a/zip"),
        FailureKind.FAILED,
    ),
    "no host": (wrapped(socket.gaierror(-2, "Name or service not known")), FailureKind.UNREACHABLE),
    "no host in text": (pooled("Failed to resolve 'h'"), FailureKind.UNREACHABLE),
    "connection refused": (
        wrapped(ConnectionRefusedError(111, "Connection refused")),
        FailureKind.UNREACHABLE,
    ),
    "connection broken": (wrapped(IncompleteRead(1, 2)), FailureKind.UNREACHABLE),
    "slow": (wrapped(ReadTimeoutError(None, "u", "slow")), FailureKind.TIMED_OUT),  # type: ignore[arg-type]
    "slow in text": (pooled('Read timeout on endpoint URL: "u"'), FailureKind.TIMED_OUT),
    "s3 broken": (pooled("Max Retries Exceeded"), FailureKind.UNREACHABLE),
    "disk full": (OSError(28, "No space left on device"), FailureKind.NO_SPACE),
    "disk full in text": (pooled("[Errno 28] No space left on device: 'x'"), FailureKind.NO_SPACE),
    "file too large": (OSError(27, "File too large"), FailureKind.NO_SPACE),
    "no permission": (PermissionError(13, "Permission denied", "/a/b"), FailureKind.FAILED),
    "zip": (wrapped(zipfile.BadZipFile("no")), FailureKind.FAILED),
    "tar": (wrapped(tarfile.ReadError("no")), FailureKind.FAILED),
    "gzip": (EOFError("ended before"), FailureKind.FAILED),
    "encrypted": (
        RuntimeError("File 'x' is encrypted, password required for extraction"),
        FailureKind.FAILED,
    ),
    "escape": (Escapes("../evil"), FailureKind.FAILED),
    "escape in text": (pooled(str(Escapes("../evil"))), FailureKind.FAILED),
    "escape in tar": (wrapped(tarfile.OutsideDestinationError(MEMBER, "/x")), FailureKind.FAILED),
    "no model": (NoModel("no model there"), FailureKind.FAILED),
    "nothing": (RuntimeError("Failed to fetch model. No model found in a."), FailureKind.NOT_FOUND),
    "no file": (FileNotFoundError(2, "No such file or directory", "/a"), FailureKind.NOT_FOUND),
    "package": (ModuleNotFoundError("No module named 'hdfs'", name="hdfs"), FailureKind.FAILED),
    "unknown": (ValueError("what is this"), FailureKind.FAILED),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_a_client_has_a_kind(name: str) -> None:
    error, kind = ERRORS[name]
    assert classify(error).kind is kind


def test_the_hub_s_own_error_is_known() -> None:
    assert issubclass(RepositoryNotFoundError, Exception)
    error = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
    error.response = hub(404).response  # type: ignore[attr-defined]
    assert classify(error).kind is FailureKind.NOT_FOUND


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("package", "ModuleNotFoundError: No module named 'hdfs'"),
        ("unknown", "ValueError: what is this"),
        ("http 404", "HTTP resource not found at 'https://h/a'."),
        ("zip", "S3 transfer failed. (BadZipFile: no)"),
        ("s3 broken", "Failed to download 1 files: a/b.onnx: Max Retries Exceeded"),
        ("no model", "no model there"),
    ],
)
def test_the_client_s_last_line_and_its_cause_are_shown(name: str, detail: str) -> None:
    assert classify(ERRORS[name][0]).detail == detail


def test_the_line_of_a_client_is_short_and_without_secrets() -> None:
    detail = classify(ValueError("at https://u:secret@h/a?sig=secret\n" + "x" * 1000)).detail
    assert detail.startswith("ValueError: at https://***@h/a?*** x")
    assert len(detail) == MAX_DETAIL


def test_an_endless_chain_ends() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__ = second
    second.__cause__ = first
    assert classify(first).kind is FailureKind.FAILED


URI = "https://u:secret@host/m.zip?sig=secret"
MIRROR = Path("/mirror")


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_is_one_sentence_with_the_client_s_line(kind: FailureKind) -> None:
    error = fetch_failed(URI, Failure(kind, "DETAIL"), MIRROR)
    sentence = str(error)
    assert sentence.startswith("https://***@host/m.zip?***: ")
    assert ": DETAIL" in sentence
    assert "secret" not in sentence
    assert "\n" not in sentence
    assert not sentence.endswith(".")
    assert error.kind is kind
    assert (error.code, error.reason) == ("bad_model", "fetch")


def test_a_hint_of_its_own_takes_the_place_of_the_kind_s() -> None:
    failure = Failure(FailureKind.TIMED_OUT, "not fetched within 30 s (1.5 MB came)")
    assert str(fetch_failed("s3://b/m", failure, MIRROR)) == (
        "s3://b/m: timed out: not fetched within 30 s (1.5 MB came); check the network, or raise "
        "--download-timeout-s"
    )
    failure = Failure(FailureKind.TIMED_OUT, "another process fetches", "try again later")
    assert str(fetch_failed("s3://b/m", failure, MIRROR)) == (
        "s3://b/m: timed out: another process fetches; try again later"
    )


def test_a_full_disk_names_the_mirror() -> None:
    sentence = str(fetch_failed("s3://b/m", Failure(FailureKind.NO_SPACE, "full"), MIRROR))
    assert sentence.endswith("free space on the disk of /mirror, or give another --cache-dir")


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("s3://b/m", "AWS_ACCESS_KEY_ID"),
        ("gs://b/m", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("https://a.blob.core.windows.net/c/m", "AZURE_CLIENT_ID"),
        ("hf://o/m", "HF_TOKEN"),
        ("https://h/m.zip", "HOST-headers"),
        ("hdfs://h/m", "the credentials"),
    ],
)
def test_each_store_has_its_own_credentials(uri: str, hint: str) -> None:
    assert hint in str(fetch_failed(uri, Failure(FailureKind.DENIED, "no"), MIRROR))


@pytest.mark.parametrize(
    ("uri", "hint"),
    [("s3://b/m", "AWS_ENDPOINT_URL"), ("hf://o/m", "HF_ENDPOINT"), ("gs://b/m", "HTTPS_PROXY")],
)
def test_each_store_has_its_own_endpoint(uri: str, hint: str) -> None:
    assert hint in str(fetch_failed(uri, Failure(FailureKind.UNREACHABLE, "no"), MIRROR))

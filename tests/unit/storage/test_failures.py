"""From the errors of the clients to the sentence that the user reads."""

import importlib
import socket
import tarfile
import warnings
import zipfile
from typing import Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from huggingface_hub.errors import RepositoryNotFoundError
from urllib3.exceptions import IncompleteRead, ReadTimeoutError

from predictor.storage.classify import MAX_DETAIL, classify
from predictor.storage.failure import Escapes, Failure, NoModel, Reason
from predictor.storage.words import failed

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


def wrapped(error: Exception, words: str = "S3 authentication failed.") -> Exception:
    """As kserve-storage does it: its own words, the client's error as the cause."""
    try:
        raise RuntimeError(words) from error
    except RuntimeError as outer:
        return outer


def pooled(words: str) -> Exception:
    """As its workers hand errors back: as text."""
    return RuntimeError(f"Failed to download 1 files: a/b.onnx: {words}")


MEMBER = tarfile.TarInfo("../evil")
ERRORS = {
    "s3 403": (wrapped(s3(403)), Reason.FORBIDDEN, "403"),
    "s3 404": (wrapped(s3(404)), Reason.NOT_FOUND, "404"),
    "s3 region": (wrapped(s3(301)), Reason.STATUS, "301"),
    "s3 busy": (wrapped(s3(503)), Reason.STATUS, "503"),
    "s3 object 403": (
        pooled("An error occurred (403) when calling the HeadObject operation: Forbidden"),
        Reason.FORBIDDEN, "403",
    ),
    "s3 object denied": (
        pooled("An error occurred (AccessDenied) when calling the GetObject operation: no"),
        Reason.FORBIDDEN, "403",
    ),
    "s3 credentials": (wrapped(boto.NoCredentialsError()), Reason.CREDENTIALS, "no credentials"),
    "s3 endpoint": (
        boto.EndpointConnectionError(endpoint_url="http://h", error="Connection refused"),
        Reason.UNREACHABLE, "no connection",
    ),
    "gs 403": (wrapped(google.Forbidden("no")), Reason.FORBIDDEN, "403"),
    "gs 404": (wrapped(google.NotFound("no")), Reason.NOT_FOUND, "404"),
    "gs credentials": (
        wrapped(google_auth.DefaultCredentialsError()), Reason.CREDENTIALS, "no credentials",
    ),
    "azure 404": (
        wrapped(ResourceNotFoundError("no"), "Azure resource 'c' not found."),
        Reason.NOT_FOUND, "",
    ),
    "azure credentials": (ClientAuthenticationError("no"), Reason.CREDENTIALS, "no credentials"),
    "hf 401": (wrapped(hub(401)), Reason.CREDENTIALS, "401"),
    "hf 404": (wrapped(hub(404)), Reason.NOT_FOUND, "404"),
    "http 403": (
        RuntimeError("HTTP access denied for 'https://h/a?s=1'. Verify permissions."),
        Reason.FORBIDDEN, "403",
    ),
    "http 500": (
        RuntimeError("HTTP request to 'https://h/a' failed with status code 500."),
        Reason.STATUS, "500",
    ),
    "http type": (
        RuntimeError("URI: u did not respond with any of following 'Content-Type': a/zip"),
        Reason.CONTENT_TYPE, "",
    ),
    "no host": (wrapped(socket.gaierror(-2, "Name or service not known")), Reason.NO_HOST, ""),
    "no host in words": (pooled("Failed to resolve 'h'"), Reason.NO_HOST, ""),
    "refused": (wrapped(ConnectionRefusedError(111, "Connection refused")), Reason.UNREACHABLE,
                "connection refused"),
    "broken": (wrapped(IncompleteRead(1, 2)), Reason.UNREACHABLE, "the connection broke"),
    "slow": (wrapped(ReadTimeoutError(None, "u", "slow")), Reason.SLOW, ""),  # type: ignore[arg-type]
    "s3 broken": (pooled("Max Retries Exceeded"), Reason.UNREACHABLE, "the connection broke"),
    "s3 slow": (pooled('Read timeout on endpoint URL: "u"'), Reason.SLOW, ""),
    "full": (OSError(28, "No space left on device"), Reason.DISK_FULL, ""),
    "full in words": (pooled("[Errno 28] No space left on device: 'x'"), Reason.DISK_FULL, ""),
    "too large": (OSError(27, "File too large"), Reason.DISK_FULL, ""),
    "denied": (PermissionError(13, "Permission denied", "/a/b"), Reason.DENIED, "/a/b"),
    "zip": (wrapped(zipfile.BadZipFile("no")), Reason.ARCHIVE, "damaged, or not of its kind"),
    "tar": (wrapped(tarfile.ReadError("no")), Reason.ARCHIVE, "damaged, or not of its kind"),
    "gzip": (EOFError("ended before"), Reason.ARCHIVE, "damaged, or not of its kind"),
    "encrypted": (RuntimeError("File 'x' is encrypted, password required for extraction"),
                  Reason.ARCHIVE, "encrypted"),
    "escape": (Escapes("../evil"), Reason.ESCAPES, "'../evil'"),
    "escape in words": (pooled(str(Escapes("../evil"))), Reason.ESCAPES, "'../evil'"),
    "escape in tar": (wrapped(tarfile.OutsideDestinationError(MEMBER, "/x")), Reason.ESCAPES,
                      "'../evil'"),
    "no model": (NoModel("no model there"), Reason.NO_MODEL, "no model there"),
    "nothing": (RuntimeError("Failed to fetch model. No model found in a."), Reason.NOT_FOUND, ""),
    "package": (ModuleNotFoundError("No module named 'hdfs'", name="hdfs"), Reason.PACKAGE, "hdfs"),
    "unknown": (ValueError("what is this"), Reason.OTHER, "ValueError"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_a_client_has_a_meaning(name: str) -> None:
    error, reason, detail = ERRORS[name]
    failure = classify(error)
    assert (failure.reason, failure.detail) == (reason, detail)


def test_the_hub_s_own_error_is_known() -> None:
    assert issubclass(RepositoryNotFoundError, Exception)
    error = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
    error.response = hub(404).response  # type: ignore[attr-defined]
    assert classify(error).reason is Reason.NOT_FOUND


def test_the_words_of_a_client_are_short_and_without_secrets() -> None:
    words = classify(ValueError("at https://u:secret@h/a?sig=secret\n" + "x" * 1000)).words
    assert words.startswith("ValueError: at https://***@h/a?*** x")
    assert len(words) == MAX_DETAIL


def test_an_endless_chain_ends() -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    assert classify(one).reason is Reason.OTHER


URI = "https://u:secret@host/m.zip?sig=secret"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_one_sentence_with_its_mend(reason: Reason) -> None:
    error = failed(URI, Failure(reason, "DETAIL"), 30.0, 1_500_000, "/mirror")
    sentence = str(error)
    assert sentence.startswith("https://***@host/m.zip?***: ")
    assert "secret" not in sentence
    assert "\n" not in sentence
    assert not sentence.endswith(".")
    assert error.cause is reason
    assert (error.code, error.reason) == ("bad_model", "fetch")


def test_what_a_deadline_says() -> None:
    assert str(failed("s3://b/m", Failure(Reason.DEADLINE), 30.0, 1_500_000, "/mirror")) == (
        "s3://b/m: not fetched within 30 s (1.5 MB came); check the network, or raise "
        "--download-timeout-s"
    )


@pytest.mark.parametrize(
    ("uri", "mend"),
    [
        ("s3://b/m", "AWS_ACCESS_KEY_ID"),
        ("gs://b/m", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("https://a.blob.core.windows.net/c/m", "AZURE_CLIENT_ID"),
        ("hf://o/m", "HF_TOKEN"),
        ("https://h/m.zip", "HOST-headers"),
        ("hdfs://h/m", "the credentials"),
    ],
)
def test_each_store_has_its_own_credentials(uri: str, mend: str) -> None:
    assert mend in str(failed(uri, Failure(Reason.FORBIDDEN, "403"), 1.0, 0, "/mirror"))

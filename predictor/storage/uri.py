"""What a model URI says: where from, whether that can be fetched, and how it may be shown."""

import hashlib
import importlib.util
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from predictor.bundle.version_folder import VERSION_NUMBER
from predictor.errors import BadSetting
from predictor.extras import install

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
SCHEMES = ("s3", "gs", "hf", "http", "https", "file", "hdfs", "webhdfs", "modelscope")
HUBS = ("hf", "modelscope")
MOUNTED = ("oci", "oci+native", "oci+fetch", "pvc")
AZURE_SCHEMES = ("abfs", "abfss", "wasb", "wasbs", "az", "azure")
AZURE_BLOB = (".blob.core.windows.net", ".blob.storage.azure.net")
AZURE = (*AZURE_BLOB, ".file.core.windows.net", ".file.storage.azure.net")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
QUERY = re.compile(r"\?[^\s'\"<>]+")
# Up to the last @ of the authority, as a password may hold an unquoted @.
USER = re.compile(r"(://)[^/\s'\"]*@")


def check_uri(uri: str) -> None:
    """Refuse what cannot be fetched before anything is started.

    Raises:
        BadSetting: the URI is none that can be fetched, or kserve-storage is not installed.
    """
    match = SCHEME.match(uri)
    scheme = match[1].lower() if match else ""
    shown = f"--model-uri {masked(uri)}"
    if not match:
        raise BadSetting(f"{shown}: no scheme like s3://; a folder of this machine is --model-dir")
    if scheme in MOUNTED:
        raise BadSetting(
            f"{shown}: {scheme}:// is not downloaded but mounted by KServe; give it as storageUri "
            "of the InferenceService, or mount it and give the folder as --model-dir"
        )
    if scheme in AZURE_SCHEMES:
        raise BadSetting(
            f"{shown}: KServe's storage spells Azure as "
            "https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH"
        )
    if scheme not in SCHEMES or match[1] != scheme:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise BadSetting(f"{shown}: {match[1]}:// is not known; {known} are")
    rest = uri[match.end() :]
    if scheme in HUBS and not re.fullmatch(r"[^/:]+/[^/:]+(:[^/]+)?", rest):
        raise BadSetting(f"{shown}: not of the form {scheme}://OWNER/NAME or .../NAME:REVISION")
    if not rest.strip("/"):
        raise BadSetting(f"{shown}: names no model")
    if importlib.util.find_spec("kserve_storage") is None:
        raise BadSetting(f"{shown}: needs the package kserve-storage: {install('storage')}")


def masked(uri: str) -> str:
    """The URI without what may be secret: user, password and query (signatures, tokens)."""
    return mask_text(uri.split("#", 1)[0])


def mask_text(text: str) -> str:
    """The same for every URI in a text."""
    return USER.sub(r"\1***@", QUERY.sub("?***", text))


def is_azure_blob(uri: str) -> bool:
    return (urlsplit(uri).hostname or "").endswith(AZURE_BLOB)


def store_of(uri: str) -> str:
    """The kind of store, as far as its credentials go: the scheme, or `azure`."""
    parts = urlsplit(uri)
    return "azure" if (parts.hostname or "").endswith(AZURE) else parts.scheme


def is_archive(uri: str) -> bool:
    return urlsplit(uri).path.lower().endswith(ARCHIVES)


def as_fetched(uri: str) -> str:
    """The URI to hand to kserve-storage.

    It takes what follows `s3://` for the beginning of names: of `s3://b/minilm` it would fetch
    `minilm2/` too, as version 2. A slash at the end makes it a folder.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or parts.path in ("", "/") or is_archive(uri):
        return uri
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/"))


def number_of(uri: str) -> int | None:
    """The version that the URI itself names by a number at its end."""
    last = urlsplit(uri).path.rstrip("/").rpartition("/")[2]
    return int(last) if VERSION_NUMBER.fullmatch(last) else None


def mirror_of(cache: Path, uri: str) -> Path:
    """The folder under `cache` for what is fetched from `uri`: another one for another URI."""
    return cache / "mirror" / hashlib.sha256(uri.encode()).hexdigest()[:16]

"""Which URIs can be fetched, and what of them may be shown."""

import importlib.util
from pathlib import Path

import pytest

from predictor.errors import BadSetting
from predictor.storage.uri import (
    as_fetched,
    check_uri,
    is_azure_blob,
    mask_text,
    masked,
    mirror_of,
    number_of,
    store_of,
)

BLOB = "https://account.blob.core.windows.net/models/minilm"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket", "s3://bucket/a/b/", "gs://bucket/a", "hf://owner/name", BLOB,
        "hf://owner/name:main", "modelscope://owner/name", "https://host/model.zip",
        "http://host/model.tar.gz?signature=1", "file:///models/minilm", "hdfs://a/b",
        "https://host/owner/repo.git",
    ],
)  # fmt: skip
def test_every_uri_that_kserve_takes_is_taken(uri: str) -> None:
    check_uri(uri)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("/models/minilm", "no scheme like s3://; a folder of this machine is --model-dir"),
        ("minilm", "no scheme"),
        ("oci://registry/model:1", "not downloaded but mounted by KServe; give it as storageUri"),
        ("oci+fetch://registry/model:1", "mounted by KServe"),
        ("pvc://claim/model", "mounted by KServe"),
        ("abfs://container/m", "https://ACCOUNT.blob.core"),
        ("ftp://host/model.zip", "ftp:// is not known; s3://, gs://, "),
        ("S3://bucket/model", "S3:// is not known"),
        ("hf://name", "not of the form hf://OWNER/NAME"),
        ("hf://owner/name/1", "not of the form hf://OWNER/NAME"),
        ("s3://", "names no model"),
    ],
)
def test_an_unsupported_uri_is_one_sentence(uri: str, why: str) -> None:
    with pytest.raises(BadSetting) as refused:
        check_uri(uri)
    assert why in str(refused.value)
    assert str(refused.value).startswith(f"--model-uri {uri}: ")
    assert "\n" not in str(refused.value)


def test_without_the_package_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        BadSetting, match=r"needs the package kserve-storage: pip install 'kserve-st"
    ):
        check_uri("s3://bucket/model")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket/model", "s3://bucket/model"),
        ("https://u:secret@host/m.zip", "https://***@host/m.zip"),
        ("https://u:s@cret@host/m.zip", "https://***@host/m.zip"),
        ("https://host/m.zip?X-Amz-Signature=secret&a=b", "https://host/m.zip?***"),
        ("https://token@host/r.git?sig=secret#secret", "https://***@host/r.git?***"),
    ],
)
def test_secrets_are_masked(uri: str, shown: str) -> None:
    assert masked(uri) == shown


def test_secrets_in_a_client_s_words_are_masked() -> None:
    words = "GET 'https://u:secret@host/m.zip?sig=secret' failed, see https://host/a?b=secret: 403"
    assert mask_text(words) == "GET 'https://***@host/m.zip?***' failed, see https://host/a?*** 403"


@pytest.mark.parametrize(
    ("uri", "fetched"),
    [
        ("s3://bucket/models/minilm", "s3://bucket/models/minilm/"),
        ("s3://bucket/models/minilm/", "s3://bucket/models/minilm/"),
        ("s3://bucket/model.tar.gz", "s3://bucket/model.tar.gz"),
        ("s3://bucket/model.ZIP", "s3://bucket/model.ZIP"),
        ("s3://bucket", "s3://bucket"),
        ("gs://bucket/models/minilm", "gs://bucket/models/minilm"),
        (BLOB, BLOB),
    ],
)
def test_a_prefix_of_s3_is_a_folder(uri: str, fetched: str) -> None:
    assert as_fetched(uri) == fetched


def test_the_version_that_a_uri_names() -> None:
    assert number_of("s3://bucket/minilm/3") == 3
    assert number_of("s3://bucket/minilm/3/") == 3
    for uri in ("s3://bucket/minilm", "s3://bucket/03", "https://host/3.zip", "hf://owner/name:3"):
        assert number_of(uri) is None


def test_azure_is_known_by_its_host() -> None:
    assert (store_of(BLOB), is_azure_blob(BLOB)) == ("azure", True)
    share = BLOB.replace("blob", "file")
    assert (store_of(share), is_azure_blob(share)) == ("azure", False)
    assert store_of("https://blob.core.windows.net.evil/a/b") == "https"


def test_each_uri_has_a_mirror_of_its_own(tmp_path: Path) -> None:
    mirror, other = (mirror_of(tmp_path, f"https://host/m.zip?id={n}") for n in (1, 2))
    assert mirror != other
    assert mirror_of(tmp_path, "https://host/m.zip?id=1") == mirror
    assert mirror.is_relative_to(tmp_path)
    assert "host" not in str(mirror.relative_to(tmp_path))

"""Models fetched from real servers, S3 and HTTP: mirrors that change, and all that goes wrong."""

import fcntl
import functools
import hashlib
import importlib
import io
import json
import logging
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest

from predictor.bundle.manifest import CANONICAL, read_bundle, sha256
from predictor.errors import BadSetting
from predictor.repository import find_version, load_model
from predictor.settings import ModelSettings
from predictor.storage import FetchFailed, download, refresh
from predictor.storage.failure import FailureKind
from tests.deadlines import DEADLINE_S

CONFIG = b'{"model_type": "bert"}'
BUCKET = "models"
TIMEOUT_S = DEADLINE_S


def wait_until(condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not so within {timeout_s} s")
        time.sleep(0.01)


def graph(content: str) -> bytes:
    """A graph without nodes, of these bytes and a few more."""
    return bytes(onnx.ModelProto(producer_name=content).SerializeToString())


def bundle(content: str = "weights") -> dict[str, bytes]:
    """A bundle of a few bytes: whole, though no model."""
    weights = graph(content)
    digest = hashlib.sha256(weights).hexdigest()
    tokenizer = hashlib.sha256(b"{}").hexdigest()
    files = {"model.onnx": digest, "tokenizer.json": tokenizer}
    manifest = {
        "schema": 2, "source_digest": "0", "family": "bert", "max_length": 8, "dimensions": 4,
        "pooling": "mean", "normalize": True, "inputs": "packed", "files": files,
        "variants": {
            "fp32": {"graph": "model.onnx", "proof": {"reference": "none", "tolerance": 1}}
        },
    }  # fmt: skip
    written = json.dumps(manifest).encode()
    return {"bundle.json": written, "model.onnx": weights, "tokenizer.json": b"{}"}


def under(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def inodes(mirror: Path) -> dict[str, tuple[int, int]]:
    """Every file that anybody may see, with inode and time of change."""
    return {
        str(path.relative_to(mirror)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(mirror.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def clean(mirror: Path) -> bool:
    """Nothing but versions and the lock."""
    return [path.name for path in mirror.glob(".*")] in ([], [".lock"])


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


def failure(uri: str, mirror: Path, timeout_s: float = TIMEOUT_S, **more: Any) -> FetchFailed:
    """The one sentence of a fetch that fails, and that it left nothing behind."""
    before = inodes(mirror)
    with pytest.raises(FetchFailed) as failed:
        refresh(uri, mirror, timeout_s, **more)
    assert inodes(mirror) == before
    assert clean(mirror)
    assert "\n" not in str(failed.value)
    return failed.value


# Stores


@dataclass
class S3:
    """moto's S3 with one bucket. `put` and `delete` take keys; `forbid` signs everybody out."""

    url: str
    client: Any

    def put(self, files: dict[str, bytes]) -> None:
        for key, content in files.items():
            self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, prefix: str) -> None:
        listing = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        for item in listing["Contents"]:
            self.client.delete_object(Bucket=BUCKET, Key=item["Key"])

    def authenticate(self, *, after: float) -> None:
        httpx.post(
            f"{self.url}/moto-api/reset-auth", content=str(after), timeout=DEADLINE_S
        ).raise_for_status()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    boto3 = importlib.import_module("boto3")
    environment = {
        "AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "S3_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    store = S3(moto, boto3.client("s3", endpoint_url=moto))
    store.client.create_bucket(Bucket=BUCKET)
    yield store
    store.authenticate(after=float("inf"))
    httpx.post(f"{moto}/moto-api/reset", timeout=DEADLINE_S).raise_for_status()


@dataclass
class Web:
    """An HTTP server.

    pages: by path, (status, type, content). behind: the server to ask for what is not among them.
    stalls: paths that say no more after their first half, until `go_on`, and then break off.
    """

    pages: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    stalls: set[str] = field(default_factory=set)
    behind: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def page(
        self, method: str, path: str, request_headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        plain = path.partition("?")[0]
        if plain in self.pages:
            status, kind, content = self.pages[plain]
            return status, {"Content-Type": kind, "Content-Length": str(len(content))}, content
        if not self.behind:
            return 404, {"Content-Length": "0"}, b""
        passed = {
            k: v for k, v in request_headers.items() if k.lower() in ("authorization", "x-amz-date")
        }
        answer = httpx.request(method, self.behind + path, headers=passed, timeout=DEADLINE_S)
        headers = {k: v for k, v in answer.headers.items() if k not in ("connection", "server")}
        return answer.status_code, headers, answer.content


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, web: Web, *arguments: Any) -> None:
        self.web = web
        super().__init__(*arguments)

    def do_GET(self) -> None:
        status, headers, content = self.web.page(self.command, self.path, dict(self.headers))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        half = len(content) // 2 if self.path.partition("?")[0] in self.web.stalls else 0
        if self.command == "GET":
            self.wfile.write(content[: half or None])
        if half and self.command == "GET":
            self.wfile.flush()
            self.web.stalled.set()
            self.web.go_on.wait()
            self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    state = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    state.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return into.getvalue()


def tarred(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return into.getvalue()


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


# What arrives


def test_a_repository_grows_shrinks_and_keeps_what_it_has(s3: S3, mirror: Path) -> None:
    uri = f"s3://{BUCKET}/repository"
    s3.put(under("repository/minilm/1", bundle("one")) | {"repository/e5/config.json": CONFIG})
    assert refresh(uri, mirror, TIMEOUT_S).added == ("e5/1", "minilm/1")
    before = inodes(mirror)

    again = refresh(uri, mirror, TIMEOUT_S)
    assert (again.added, again.unchanged) == ((), ("e5/1", "minilm/1"))
    assert inodes(mirror) == before

    s3.put(under("repository/minilm/2", bundle("two")))
    assert refresh(uri, mirror, TIMEOUT_S).added == ("minilm/2",)
    assert before.items() <= inodes(mirror).items()

    s3.delete("repository/minilm/1/")
    s3.delete("repository/e5/")
    done = refresh(uri, mirror, TIMEOUT_S)
    assert (done.removed, done.unchanged) == (("e5/1", "minilm/1"), ("minilm/2",))
    assert sorted(path.name for path in mirror.iterdir()) == [".lock", "minilm"]
    assert set(inodes(mirror)) == set(under("minilm/2", bundle()))
    assert clean(mirror)


def test_a_version_never_changes_under_its_number(s3: S3, mirror: Path) -> None:
    uri = f"s3://{BUCKET}/minilm"
    s3.put(under("minilm/3", bundle("one")))
    refresh(uri, mirror, TIMEOUT_S)
    before = inodes(mirror)
    s3.put(under("minilm/3", bundle("changed")) | under("minilm/4", bundle("two")))
    done = refresh(uri, mirror, TIMEOUT_S)
    assert (done.added, done.unchanged) == (("4",), ())
    assert done.conflicts == (
        f"{uri}: version 3 is not the one that was fetched before, which is kept, as versions "
        "never change; publish it under a new number",
    )
    assert before.items() <= inodes(mirror).items()


def test_a_version_that_vanishes_stays_mapped(s3: S3, mirror: Path) -> None:
    s3.put(under("minilm/1", bundle("mapped")) | under("minilm/2", bundle("two")))
    refresh(f"s3://{BUCKET}/minilm", mirror, TIMEOUT_S)
    with (mirror / "1" / "model.onnx").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    s3.delete("minilm/1/")
    assert refresh(f"s3://{BUCKET}/minilm", mirror, TIMEOUT_S).removed == ("1",)
    assert not (mirror / "1").exists()
    with mapped:
        assert mapped[:] == graph("mapped")


def test_a_model_without_numbers_gets_them(web: Web, mirror: Path) -> None:
    uri = f"{web.url}/model.zip"
    for number, content in enumerate([b"{}", b"{ }", b"{}"], 1):
        web.pages["/model.zip"] = (200, "application/zip", zipped({"config.json": content}))
        assert refresh(uri, mirror, TIMEOUT_S).added == (str(number),)
        assert refresh(uri, mirror, TIMEOUT_S).unchanged == (str(number),)
        assert find_version(mirror) == (mirror / str(number), str(number))
        assert (mirror / str(number) / "config.json").read_bytes() == content
    assert sorted(path.name for path in mirror.glob("[!.]*")) == ["2", "3"]


def test_the_number_at_the_end_of_a_uri_is_the_version(s3: S3, mirror: Path) -> None:
    s3.put(under("minilm/7", bundle()))
    assert refresh(f"s3://{BUCKET}/minilm/7", mirror, TIMEOUT_S).added == ("7",)


def test_names_that_only_begin_alike_are_not_fetched(s3: S3, mirror: Path) -> None:
    s3.put(under("minilm/1", bundle()) | under("minilm2", bundle("other")))
    assert refresh(f"s3://{BUCKET}/minilm", mirror, TIMEOUT_S).added == ("1",)
    assert not (mirror / "2").exists()


def test_a_repository_that_becomes_a_model(s3: S3, mirror: Path) -> None:
    s3.put(under("a/minilm/1", bundle()))
    assert refresh(f"s3://{BUCKET}/a", mirror, TIMEOUT_S).added == ("minilm/1",)
    s3.delete("a/minilm/1/")
    s3.put(under("a/5", bundle()))
    done = refresh(f"s3://{BUCKET}/a", mirror, TIMEOUT_S)
    assert (done.added, done.removed) == (("5",), ("minilm/1",))
    assert [path.name for path in mirror.glob("[!.]*")] == ["5"]


def test_a_version_that_is_not_fully_uploaded_is_not_published(s3: S3, mirror: Path) -> None:
    s3.put(under("minilm/1", bundle("one")))
    whole = under("minilm/2", bundle("two"))
    s3.put({key: content for key, content in whole.items() if key.endswith(".json")})
    s3.put({"minilm/3/model.onnx": b"early"})
    uri = f"s3://{BUCKET}/minilm"
    done = refresh(uri, mirror, TIMEOUT_S)
    assert done.added == ("1",)
    assert done.refused == (
        f"{uri}/2/model.onnx: missing, though bundle.json lists it",
        f"{uri}/3: holds neither bundle.json nor config.json",
    )
    s3.put(whole)
    assert refresh(uri, mirror, TIMEOUT_S).added == ("2",)


@pytest.mark.parametrize(
    ("path", "kind", "pack"),
    [
        ("/m.tar.gz", "application/gzip", tarred),
        ("/m.tgz", "application/gzip", tarred),
        ("/m.zip", "application/zip", zipped),
    ],
)
def test_archives_over_http(
    web: Web, mirror: Path, path: str, kind: str, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    web.pages[path] = (200, kind, pack(under("minilm/2", bundle())))
    assert refresh(f"{web.url}{path}?signature=secret", mirror, TIMEOUT_S).added == ("minilm/2",)
    read_bundle(mirror / "minilm" / "2")


def test_an_archive_in_s3(s3: S3, mirror: Path) -> None:
    s3.put({"packed/minilm.tar.gz": tarred(bundle())})
    assert refresh(f"s3://{BUCKET}/packed/minilm.tar.gz", mirror, TIMEOUT_S).added == ("1",)


def test_a_local_folder_is_copied_and_not_linked(tmp_path: Path, mirror: Path) -> None:
    source = tmp_path / "source"
    (source / ".data").mkdir(parents=True)
    (source / ".data" / "config.json").write_bytes(CONFIG)
    (source / "config.json").symlink_to(".data/config.json")  # as in a volume of a ConfigMap
    source.chmod(0o555)
    assert refresh(f"file://{source}", mirror, TIMEOUT_S).added == ("1",)
    source.chmod(0o755)
    shutil.rmtree(source)
    assert (mirror / "1" / "config.json").read_bytes() == CONFIG


def test_a_real_bundle_is_served_from_the_mirror(s3: S3, mirror: Path, bundle_dir: Path) -> None:
    files = {path.name: path.read_bytes() for path in bundle_dir.iterdir()}
    s3.put(under("minilm/1", files))
    done = refresh(f"s3://{BUCKET}/minilm", mirror, TIMEOUT_S)
    assert (done.added, done.refused) == (("1",), ())
    assert sha256(mirror / "1" / CANONICAL) == sha256(bundle_dir / CANONICAL)
    loaded = load_model(ModelSettings(model_dir=str(mirror), threads=1))
    assert (loaded.version, loaded.bundle) == ("1", read_bundle(bundle_dir))


def test_the_log_says_what_is_fetched(
    web: Web, mirror: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LINE_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)
    web.pages["/m.zip"] = (200, "application/zip", zipped(bundle()))
    uri = web.url.replace("//", "//user:secret@") + "/m.zip?sig=secret"
    refresh(uri, mirror, TIMEOUT_S)
    shown = uri.replace("user:secret", "***").replace("sig=secret", "***")
    lines = [record.getMessage() for record in caplog.records if "fetch" in record.getMessage()]
    assert lines[0] == f"fetching {shown}"
    assert any(line.startswith(f"fetching {shown}: 0.0 MB in 0 s") for line in lines)
    assert lines[-1].startswith(f"fetched {shown}: 0.0 MB in ")
    assert lines[-1].endswith("s; added 1")
    assert "secret" not in caplog.text


# What goes wrong at the other end


@pytest.mark.parametrize(
    ("uri", "kind", "sentence"),
    [
        ("s3://missing/m", FailureKind.NOT_FOUND, "check the names in the URI"),
        ("s3://models/missing", FailureKind.NOT_FOUND, "check the names in the URI"),
        ("s3://models/docs", FailureKind.FAILED, "no model there: neither bundle.json nor config"),
        ("file:///missing", FailureKind.NOT_FOUND, "not found"),
        (
            "https://nowhere.invalid/m.zip",
            FailureKind.UNREACHABLE,
            "check the URI, the network and the proxy",
        ),
        (
            "http://127.0.0.1:1/m.zip",
            FailureKind.UNREACHABLE,
            "Connection refused",
        ),
        ("hdfs://missing/m", FailureKind.FAILED, "No module named 'krbcontext'"),
    ],
)
def test_a_store_without_the_model_is_one_sentence(
    s3: S3, mirror: Path, uri: str, kind: FailureKind, sentence: str
) -> None:
    s3.put({"docs/readme.md": b"x"})
    error = failure(uri, mirror)
    assert error.kind is kind
    assert str(error).startswith(f"{uri}: ")
    assert sentence in str(error)


def test_s3_says_403(s3: S3, mirror: Path) -> None:
    s3.put(under("minilm/1", bundle()))
    s3.authenticate(after=0)
    error = failure(f"s3://{BUCKET}/minilm", mirror)
    assert error.kind is FailureKind.DENIED
    assert str(error) == (
        f"s3://{BUCKET}/minilm: access denied: S3 error [403]: Forbidden (ClientError: An error "
        "occurred (403) when calling the HeadBucket operation: Forbidden); check "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of the service account"
    )


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, FailureKind.DENIED, "check the variable HOST-headers"),
        (403, FailureKind.DENIED, "check the variable HOST-headers"),
        (404, FailureKind.NOT_FOUND, "not found"),
        (503, FailureKind.UNREACHABLE, "failed with status code 503"),
    ],
)
def test_http_says_no(
    web: Web, mirror: Path, status: int, kind: FailureKind, sentence: str
) -> None:
    web.pages["/m.zip"] = (status, "text/html", b"<html>")
    error = failure(f"{web.url}/m.zip?sig=secret", mirror)
    assert error.kind is kind
    assert sentence in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("path", "content_type", "content", "line"),
    [
        ("/m.zip", "application/zip", b"<html>", "File is not a zip file"),
        ("/m.zip", "application/zip", zipped(bundle())[:-30], "File is not a zip file"),
        ("/m.tar.gz", "application/gzip", b"<html>", "Not a gzipped file"),
        (
            "/m.tar.gz",
            "application/gzip",
            tarred(bundle())[:-30],
            "ended before the end-of-stream marker",
        ),
        ("/m.tar.gz", "text/html", b"<html>", "'Content-Type': application/x-tar"),
        ("/m", "text/html", b"<html>", "'Content-Type': 'application/octet-stream'"),
        ("/m", "application/octet-stream", b"weights", "no model there"),
    ],
)
def test_a_file_that_is_not_an_archive_is_refused(
    web: Web, mirror: Path, path: str, content_type: str, content: bytes, line: str
) -> None:
    web.pages[path] = (200, content_type, content)
    error = failure(f"{web.url}{path}", mirror)
    assert error.kind is FailureKind.FAILED
    assert line in str(error)


ESCAPES = {
    "zip ..": zipped({**bundle(), "../../evil": b"x"}),
    "zip absolute": zipped({**bundle(), "/tmp/evil": b"x"}),
    "tar ..": tarred({**bundle(), "../../evil": b"x"}),
    "tar absolute": tarred({**bundle(), "/tmp/evil": b"x"}),
    "tar link": tarred(bundle(), member("evil", tarfile.SYMTYPE, "../../../evil")),
    "tar absolute link": tarred(bundle(), member("evil", tarfile.SYMTYPE, "/etc/passwd")),
    "tar hard link": tarred(bundle(), member("evil", tarfile.LNKTYPE, "../../../evil")),
    "tar pipe": tarred(bundle(), member("evil", tarfile.FIFOTYPE)),
    "link to another version": tarred(
        under("1", bundle()) | under("2", bundle()), member("1/evil", tarfile.SYMTYPE, "../2")
    ),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_an_archive_that_escapes_is_refused(
    web: Web, mirror: Path, tmp_path: Path, name: str
) -> None:
    kind = name.split(maxsplit=1)[0] if name.startswith("zip") else "tar.gz"
    types = {"zip": "application/zip", "tar.gz": "application/gzip"}
    web.pages[f"/m.{kind}"] = (200, types[kind], ESCAPES[name])
    error = failure(f"{web.url}/m.{kind}", mirror)
    assert error.kind is FailureKind.FAILED
    assert re.search(
        r"evil' (leads out of the model's folder|would link to .* outside the destination"
        r"|is a link to an absolute path|is a special file)",
        str(error),
    )
    assert list(tmp_path.rglob("*evil*")) == []
    assert not Path("/tmp/evil").exists()


def test_a_key_of_s3_that_escapes_is_refused(s3: S3, mirror: Path, tmp_path: Path) -> None:
    s3.put(under("minilm/1", bundle()) | {"minilm/../../../evil/x": b"x"})
    error = failure(f"s3://{BUCKET}/minilm", mirror)
    assert error.kind is FailureKind.FAILED
    assert list(tmp_path.rglob("*evil*")) == []


# What goes wrong on the way


@pytest.fixture
def stalling(web: Web, s3: S3, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The store behind a proxy that stops in the middle of `minilm/2`'s weights; 1 is mirrored."""
    s3.put(under("minilm/1", bundle("one")) | under("minilm/2", bundle("x" * 200_000)))
    web.behind = s3.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    web.stalls = {f"/{BUCKET}/minilm/2/model.onnx"}
    return web


URI = f"s3://{BUCKET}/minilm"


def processes_in(folder: Path) -> set[int]:
    """The processes whose temporary files lie in `folder`: those that download, and their own."""
    processes = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(v.startswith(f"TMPDIR={folder}/".encode()) for v in variables):
            processes.add(int(entry.name))
    return processes


# Long enough for the download to reach the file that stalls, on a machine that does other work.
STALL_S = 8


def test_a_store_that_stalls_is_left_at_the_deadline(stalling: Web, mirror: Path) -> None:
    started = time.monotonic()
    error = failure(URI, mirror, STALL_S)
    assert time.monotonic() - started >= STALL_S
    assert stalling.stalled.is_set()
    assert error.kind is FailureKind.TIMED_OUT
    assert str(error).startswith(f"{URI}: timed out: not fetched within {STALL_S} s (")
    assert str(error).endswith("MB came); check the network, or raise --download-timeout-s")
    assert processes_in(mirror) == set()


def test_a_store_that_breaks_off_is_one_sentence(stalling: Web, mirror: Path) -> None:
    stalling.go_on.set()
    assert failure(URI, mirror).kind is FailureKind.UNREACHABLE


@contextmanager
def fetching(mirror: Path, web: Web, **more: Any) -> Iterator[list[FetchFailed]]:
    """A fetch that is in the middle; what it failed with once the body is done."""
    failed: list[FetchFailed] = []
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(failure, URI, mirror, TIMEOUT_S, **more)
        assert web.stalled.wait(DEADLINE_S)
        assert processes_in(mirror)
        yield failed
        failed.append(run.result(20))
    assert processes_in(mirror) == set()


def test_a_killed_download_leaves_the_mirror_as_it_was(stalling: Web, mirror: Path) -> None:
    stalls, stalling.stalls = stalling.stalls, set()
    refresh(URI, mirror, TIMEOUT_S)
    shutil.rmtree(mirror / "2")
    stalling.stalls = stalls
    with fetching(mirror, stalling) as failed:
        os.kill(min(processes_in(mirror)), signal.SIGKILL)
    assert failed[0].kind is FailureKind.FAILED
    assert "was killed (SIGKILL)" in str(failed[0])
    assert set(inodes(mirror)) == set(under("1", bundle()))


def test_a_fetch_can_be_stopped(stalling: Web, mirror: Path) -> None:
    stop = threading.Event()
    with fetching(mirror, stalling, stop=stop) as failed:
        stop.set()
    assert failed[0].kind is FailureKind.FAILED


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_download_dies_with_the_server(
    stalling: Web, mirror: Path, number: signal.Signals
) -> None:
    code = (
        "import sys, pathlib, predictor.storage as s;"
        "s.refresh(sys.argv[1], pathlib.Path(sys.argv[2]), 60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, URI, str(mirror)], stderr=subprocess.DEVNULL
    ) as server:
        assert stalling.stalled.wait(DEADLINE_S)
        assert len(processes_in(mirror)) > 1, "the process and its workers"
        server.send_signal(number)
        server.wait(DEADLINE_S)
    wait_until(lambda: not processes_in(mirror))
    assert inodes(mirror) == {} or number != signal.SIGINT
    left = list(mirror.glob(".fetching-*"))
    assert bool(left) == (number != signal.SIGINT)

    stalling.stalls.clear()
    assert refresh(URI, mirror, TIMEOUT_S).added == ("1", "2")
    assert clean(mirror)


def test_a_second_fetch_into_a_mirror_waits_for_the_first(s3: S3, mirror: Path) -> None:
    s3.put(under("minilm/1", bundle()))
    mirror.mkdir()
    with (mirror / ".lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        error = failure(URI, mirror, 1.0)
    assert "another process is still fetching into" in str(error)
    assert refresh(URI, mirror, TIMEOUT_S).added == ("1",)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    flags = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.call(flags, stderr=subprocess.DEVNULL):
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("store", ["s3", "http", "unpacking"])
def test_a_full_disk_is_one_sentence(s3: S3, web: Web, small_disk: Path, store: str) -> None:
    large = bundle("x" * 400_000)
    s3.put(under("minilm/1", large))
    web.pages["/m.zip"] = (200, "application/zip", zipped(large))
    web.pages["/m.tar.gz"] = (200, "application/gzip", tarred(large))
    uris = {"s3": URI, "http": f"{web.url}/m.zip", "unpacking": f"{web.url}/m.tar.gz"}
    error = failure(uris[store], small_disk)
    assert error.kind is FailureKind.NO_SPACE
    assert str(error).startswith(f"{uris[store]}: no space left: ")
    assert str(error).endswith(
        f"; free space on the disk of {small_disk}, or give another --cache-dir"
    )


def test_a_mirror_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchFailed, match=r"cannot be written \(Not a directory\); give another"):
        refresh(URI, tmp_path / "file" / "mirror", TIMEOUT_S)


def test_a_mounted_folder_is_not_fetched(mirror: Path) -> None:
    with pytest.raises(BadSetting, match="mounted by KServe"):
        refresh("oci://registry/model", mirror, TIMEOUT_S)
    assert not mirror.exists()


def test_the_clients_never_enter_the_server() -> None:
    code = (
        "import sys, pathlib, tempfile, predictor.storage as s\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "(folder / 'config.json').write_text('{}')\n"
        "s.refresh(f'file://{folder}', folder / 'mirror', 60)\n"
        "print([m for m in sys.modules if m.startswith(('kserve_storage', 'boto', 'google', "
        "'azure', 'requests', 'huggingface'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Where a model may come from: a zip, or a hub, played here by a small server on this machine."""

import hashlib
import importlib.util
import json
import shutil
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from predictor.bundle.manifest import read_bundle
from tests.integration.test_export import export, exported_into, left_in
from tests.reference.families.folders import assemble

NAME = "organisation/tiny"
COMMIT = "c0ffee" * 6 + "c0de"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble("bert", tmp_path_factory.mktemp("sources") / "tiny")


@pytest.fixture(scope="module")
def revision(tiny: Path) -> str:
    """Of a bundle made from the directory itself."""
    return exported_into(tiny.parent / "expected", tiny).revision


# Zips


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    """The files of a folder at `inside` in a new zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, inside + file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("inside", ["", "tiny/"])
def test_a_zip_gives_what_its_folder_gives(
    tiny: Path, tmp_path: Path, revision: str, inside: str
) -> None:
    (tmp_path / "temporary").mkdir()
    packed = zipped(tiny, tmp_path / "model.zip", inside)
    done = export(
        packed, "-o", tmp_path / "out", environment={"TMPDIR": str(tmp_path / "temporary")}
    )
    assert done.code == 0, done.err
    bundle = read_bundle(tmp_path / "out" / "1")
    assert (bundle.revision, bundle.source) == (revision, "model.zip")
    assert left_in(tmp_path / "temporary") == []


def test_names_that_lead_out_of_a_zip_stay_inside(
    tiny: Path, tmp_path: Path, revision: str
) -> None:
    """Where they would lead to: beside the folder that the zip is unpacked into."""
    (tmp_path / "temporary").mkdir()
    packed = zipped(tiny, tmp_path / "model.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        for name in ("../escaped", "../../escaped", f"{tmp_path}/escaped"):
            archive.writestr(name, "out")
    done = export(
        packed, "-o", tmp_path / "out", environment={"TMPDIR": str(tmp_path / "temporary")}
    )
    assert done.code == 0, done.err
    assert read_bundle(tmp_path / "out" / "1").revision == revision
    assert left_in(tmp_path / "temporary") == []
    assert left_in(tmp_path) == ["model.zip", "out", "temporary"]


def test_a_damaged_zip_is_one_line_and_nothing_stays(tiny: Path, tmp_path: Path) -> None:
    """Wrong bytes in the middle of the compressed weights; more in tests/unit/export."""
    (tmp_path / "temporary").mkdir()
    packed = zipped(tiny, tmp_path / "model.zip")
    content = bytearray(packed.read_bytes())
    begin = content.index(b"model.safetensors") + 200
    content[begin : begin + 40_000 : 97] = b"\xff" * len(range(begin, begin + 40_000, 97))
    packed.write_bytes(content)
    done = export(
        packed, "-o", tmp_path / "out", environment={"TMPDIR": str(tmp_path / "temporary")}
    )
    assert done.refusal().startswith(f"{packed}: not a zip file, or a damaged one: ")
    assert left_in(tmp_path / "temporary") == left_in(tmp_path / "out") == []


# Names


@pytest.mark.parametrize("name", ["nothing", "./no/folder", "x" * 300], ids=len)
def test_a_name_that_is_nothing_is_one_line(tmp_path: Path, name: str) -> None:
    line = export(name, "-o", tmp_path / "out").refusal(2)
    assert line.startswith(f"{name}: no such directory or zip file, and not the name of a model")
    assert left_in(tmp_path / "out") == []


def test_a_hub_name_without_the_hubs_library_says_what_to_install(tmp_path: Path) -> None:
    without = (
        "-c",
        "import sys; sys.modules['huggingface_hub'] = None;from predictor.cli import main; main()",
    )
    line = export(NAME, "-o", tmp_path / "out", through=without).refusal(2)
    assert line == (
        f"{NAME}: no such directory, and fetching from a hub needs huggingface_hub: "
        "pip install 'huggingface_hub>=0.30'"
    )


# A hub


class Hub:
    """Enough of the Hugging Face hub for one model: branch to commit, list of files, files."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        self.paths: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        self.paths.append(path)
        file = path.removeprefix(f"/{NAME}/resolve/{COMMIT}/")
        if path.removeprefix(f"/api/models/{NAME}") in ("", "/revision/main", "/revision/v1"):
            listed = [{"rfilename": name} for name in self.files]
            self.send(request, json.dumps({"id": NAME, "sha": COMMIT, "siblings": listed}).encode())
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": etag(content)}
                for name, content in self.files.items()
            ]
            self.send(request, json.dumps(tree).encode())
        elif file in self.files:
            self.send(request, self.files[file])
        else:
            code = "RevisionNotFound" if NAME in path else "RepoNotFound"
            self.send(request, b"{}", status=404, code=code)

    @staticmethod
    def send(
        request: BaseHTTPRequestHandler, body: bytes, *, status: int = 200, code: str = ""
    ) -> None:
        request.send_response(status)
        headers = {"x-repo-commit": COMMIT, "etag": f'"{etag(body)}"', "x-error-code": code}
        headers |= {"content-length": str(len(body)), "content-type": "application/json"}
        for key, value in headers.items():
            if value:
                request.send_header(key, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def etag(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


UNWANTED = ("modeling_tiny.py", "onnx/model.onnx", "tf_model.h5", "training_args.bin", "run.sh")


@pytest.fixture(scope="module")
def hub(tiny: Path) -> Iterator[Hub]:
    folder = shutil.copytree(tiny, tiny.parent / "hub")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "onnx").mkdir()
    for name in UNWANTED:
        (folder / name).write_text("raise SystemExit('fetched')")
    running = Hub(folder)
    yield running
    running.close()


needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed"
)


def settings(hub: Hub, cache: Path, **more: str) -> dict[str, str]:
    """The library's environment; no token of this machine is used."""
    home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub")}
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": ""}
    return home | quiet | {"HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"} | more


@pytest.fixture(scope="module")
def cache(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the library that has the model, after an export of it into `out` beside."""
    cache = tmp_path_factory.mktemp("cache")
    hub.paths.clear()
    done = export(NAME, "-o", cache / "out", environment=settings(hub, cache))
    assert done.code == 0, done.err
    return cache


@needs_hub
def test_a_model_of_a_hub_is_pinned_to_its_commit(cache: Path, revision: str) -> None:
    bundle = read_bundle(cache / "out" / "1")
    assert (bundle.source, bundle.source_revision, bundle.licence) == (NAME, COMMIT, "mit")
    assert bundle.revision == revision


@needs_hub
def test_code_and_other_frameworks_weights_are_never_fetched(hub: Hub, cache: Path) -> None:
    assert f"/{NAME}/resolve/{COMMIT}/model.safetensors" in hub.paths
    assert [path for path in hub.paths if path.endswith(UNWANTED)] == []
    assert not [file for file in cache.rglob("*") if file.name.endswith(UNWANTED)]


@needs_hub
def test_a_revision_is_the_commit_it_stands_for(hub: Hub, cache: Path, tmp_path: Path) -> None:
    done = export(f"{NAME}@v1", "-o", tmp_path, environment=settings(hub, cache))
    assert done.code == 0, done.err
    bundle = read_bundle(tmp_path / "1")
    assert (bundle.source, bundle.source_revision) == (NAME, COMMIT)


@needs_hub
def test_offline_a_filled_cache_is_enough(
    hub: Hub, cache: Path, tmp_path: Path, revision: str
) -> None:
    before = len(hub.paths)
    done = export(NAME, "-o", tmp_path, environment=settings(hub, cache, HF_HUB_OFFLINE="1"))
    assert done.code == 0, done.err
    bundle = read_bundle(tmp_path / "1")
    assert (bundle.source_revision, bundle.revision) == (COMMIT, revision)
    assert len(hub.paths) == before


@needs_hub
@pytest.mark.parametrize(
    ("name", "environment"),
    [
        (NAME, {"HF_HUB_OFFLINE": "1"}),
        ("organisation/other", {}),
        (f"{NAME}@v2", {}),
        (NAME, {"HF_ENDPOINT": "http://127.0.0.1:9"}),
    ],
    ids=["offline without a cache", "unknown model", "unknown revision", "no hub"],
)
def test_a_model_that_cannot_be_fetched_is_one_line(
    hub: Hub, tmp_path: Path, name: str, environment: dict[str, str]
) -> None:
    done = export(name, "-o", tmp_path / "out", environment=settings(hub, tmp_path, **environment))
    assert done.refusal().startswith(f"{name}: cannot be fetched from the hub: ")
    assert left_in(tmp_path / "out") == []

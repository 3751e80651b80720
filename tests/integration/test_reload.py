"""Versions that come, go, are broken or asked for while a server answers.

Small models of one family, whose vectors differ, are the versions: who is answered by the wrong one
gets a wrong vector. Beside every test a client asks a model that nobody touches, and must always be
answered right.
"""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import numpy.typing as npt
import pytest

from predictor.bundle.manifest import CANONICAL, MANIFEST, sha256
from predictor.bundle.source import read_source
from predictor.export.convert import convert_cached
from predictor.kserve_sdk import messages, services
from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S
from tests.integration.faults.troubled import LONG_TEXT, wait_until
from tests.reference.families.folders import MODELS, REFERENCE, assemble
from tests.reference.families.texts import family_texts
from tests.serving import FREE_PORTS, Server

TOKEN = "0123456789abcdef0123456789abcdef"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
POLL_S = 0.2
TEXT = family_texts()[5]
# Versions with 32 dimensions each, and one with 24.
MEAN, CLS, MAX = "bert", "bert--cls", "bert--max"
NARROW = "bert--dense-layer-norm-normalize"
READY = ("READY", "")

_names = (f"m{number}" for number in itertools.count())


# What is served


@cache
def vector_of(kind: str) -> npt.NDArray[np.float32]:
    """The reference vector, of length 1 as servers send it."""
    with np.load(MODELS / kind / REFERENCE) as kept:
        vector: npt.NDArray[np.float32] = kept["vectors"][5]
        return vector / np.float32(np.linalg.norm(vector))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Hugging Face directories."""
    work = tmp_path_factory.mktemp("sources")
    return {kind: assemble(kind, work / kind) for kind in (MEAN, CLS, MAX, NARROW)}


@pytest.fixture(scope="module")
def bundles(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    cache = tmp_path_factory.mktemp("bundles")
    return {kind: convert_cached(read_source(f), cache, threads=2) for kind, f in sources.items()}


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN)
    return path


class Site:
    """A server and the repository that it looks at."""

    def __init__(self, server: Server, root: Path, bundles: dict[str, Path]) -> None:
        self.server, self.root, self.bundles = server, root, bundles
        self.http = httpx.Client(base_url=server.url, timeout=DEADLINE_S)

    # The disk

    def publish(
        self, place: str, kind: str, change: Callable[[Path], object] = lambda folder: None
    ) -> Path:
        """Put a version in its place at once, as one rename does."""
        hidden = self.root / ".aside"
        shutil.copytree(self.bundles[kind], hidden)
        change(hidden)
        folder = self.root / place
        folder.parent.mkdir(parents=True, exist_ok=True)
        return hidden.rename(folder)

    def new(self, *kinds: str) -> str:
        """A model of versions 1, 2, ... whose newest answers already; its name."""
        name = next(_names)
        for number, kind in enumerate(kinds, start=1):
            self.publish(f"{name}/{number}", kind)
        assert self.load(name).status_code == 200
        return name

    # Asking

    def ask(self, model: str, version: str = "") -> httpx.Response:
        body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]}
        middle = f"/versions/{version}" if version else ""
        return self.http.post(f"/v2/models/{model}{middle}/infer", json=body)

    def answers(self, model: str, version: object, kind: str) -> None:
        """Raise unless this version answers for the model, and right."""
        response = self.ask(model)
        assert response.status_code == 200, response.text
        assert response.headers["x-model-version"] == str(version)
        vector = response.json()["outputs"][0]["data"]
        np.testing.assert_allclose(vector, vector_of(kind), atol=1e-4)

    # The repository API

    def load(self, model: str, version: object = None) -> httpx.Response:
        return self._change(model, "load", version)

    def unload(self, model: str, version: object = None) -> httpx.Response:
        return self._change(model, "unload", version)

    def _change(self, model: str, action: str, version: object) -> httpx.Response:
        body = {} if version is None else {"parameters": {"version": str(version)}}
        path = f"/v2/repository/models/{model}/{action}"
        return self.http.post(path, json=body, headers=ADMIN)

    def index(self) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = self.http.post("/v2/repository/index", headers=ADMIN).json()
        return rows

    def row(self, model: str, version: object) -> tuple[str, str] | None:
        """State and reason; None: the index does not know it."""
        rows = [r for r in self.index() if (r["name"], r["version"]) == (model, str(version))]
        return (rows[0]["state"], rows[0]["reason"]) if rows else None

    def until(self, model: str, version: object, row: tuple[str, str] | None) -> None:
        """Wait until the index says so; the reason is a regular expression."""

        def is_so() -> bool:
            current = self.row(model, version)
            if current is None or row is None:
                return current is row
            return current[0] == row[0] and bool(re.search(row[1], current[1]))

        try:
            wait_until(is_so)
        except TimeoutError:
            pytest.fail(f"{model} {version}: {self.row(model, version)}, not {row}")

    def problems(self, model: str) -> dict[str, str]:
        """What readiness says of versions that should answer and do not."""
        listed = self.http.get("/v2/health/ready").json()["unavailable"]
        return {row["version"]: row["reason"] for row in listed if row["name"] == model}

    def count(self, name: str, **labels: str) -> float:
        try:
            return counted(self.http, name, **labels)
        except LookupError:
            return 0.0

    def looks(self, times: int = 3) -> None:
        """Wait for so many looks at the repository from now on."""
        polls = self.count("predictor_repository_polls_total")
        wait_until(lambda: self.count("predictor_repository_polls_total") >= polls + times)


class Bystander:
    """Asks for a model that nobody touches, and keeps what was wrong about the answers."""

    def __init__(self, site: Site, model: str, kind: str) -> None:
        self.requests, self.wrong = 0, list[str]()
        self._site, self._names = site, (model, kind)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        model, kind = self._names
        site = Site(self._site.server, self._site.root, self._site.bundles)
        while not self._stop.wait(0.05):
            try:
                site.answers(model, 1, kind)
            except (AssertionError, httpx.HTTPError) as error:
                self.wrong.append(repr(error))
            self.requests += 1
        site.http.close()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def serving(
    root: Path, bundles: dict[str, Path], *flags: str, wrapper: Sequence[str] = ()
) -> Iterator[Site]:
    flags = (f"--model-dir={root}", "--cache-mb=0", "--drain-delay-s=0", *flags)
    server = Server(*flags, wrapper=wrapper)
    site = Site(server, root, bundles)
    try:
        yield site
    finally:
        site.http.close()
        assert server.stop() == 0
    assert not [line for line in server.lines if "Traceback" in line]


@pytest.fixture(scope="module")
def polled(
    bundles: dict[str, Path], token_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Looks five times a second, may be changed, keeps one replaced version warm."""
    work = tmp_path_factory.mktemp("polled")
    (work / "root" / "steady").mkdir(parents=True)
    shutil.copytree(bundles[MEAN], work / "root" / "steady" / "1")
    flags = (
        f"--cache-dir={work / 'cache'}",
        f"--poll-interval-s={POLL_S}",
        f"--admin-token-file={token_file}",
        "--version-policy=latest:1; both=all; three=specific:3",
    )
    with serving(work / "root", bundles, *flags) as site:
        bystander = Bystander(site, "steady", MEAN)
        yield site
        bystander.end()
        assert bystander.requests > 20
        assert bystander.wrong == []


@pytest.fixture
def site(polled: Site) -> Iterator[Site]:
    yield polled
    assert polled.server.process.poll() is None
    polled.answers("steady", 1, MEAN)


# A new version


def test_a_new_version_takes_over(site: Site) -> None:
    name = site.new(MEAN)
    site.answers(name, 1, MEAN)
    site.publish(f"{name}/2", CLS)
    site.until(name, 2, READY)
    site.answers(name, 2, CLS)
    site.until(name, 1, ("UNAVAILABLE", "kept loaded, not served"))
    assert site.ask(name, "1").status_code == 404
    assert site.count("predictor_model_loads_total", model=name, outcome="ready") == 2
    assert site.count("predictor_model_ready", model=name) == 1
    assert site.count("predictor_model_info", model=name, version="2") == 1
    assert site.problems(name) == {}


def test_requests_meanwhile_are_answered_by_the_old_or_the_new(site: Site) -> None:
    name = site.new(MEAN)
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            response = site.ask(name)
            answers.append((response.status_code, response.headers.get("x-model-version", "")))

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(ask) for _ in range(2)]
        site.publish(f"{name}/2", CLS)
        site.until(name, 2, READY)
        site.answers(name, 2, CLS)
        assert site.load(name, 1).status_code == 200
        site.answers(name, 1, MEAN)
        stop.set()
        for client in clients:
            client.result()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} <= {"1", "2"}


def test_a_new_model_and_policies_of_its_own(site: Site) -> None:
    for number, kind in ((1, MEAN), (2, CLS)):
        site.publish(f"both/{number}", kind)
    for number, kind in ((3, MEAN), (4, CLS)):
        site.publish(f"three/{number}", kind)
    for model, number in (("both", 1), ("both", 2), ("three", 3)):
        site.until(model, number, READY)
    site.answers("both", 2, CLS)
    assert site.ask("both", "1").headers["x-model-version"] == "1"
    site.answers("three", 3, MEAN)
    site.until("three", 4, ("UNAVAILABLE", "not selected by --version-policy specific:3"))
    listed = [model["id"] for model in site.http.get("/v1/models").json()["data"]]
    assert {"both", "both:1", "both:2", "three"} <= set(listed)
    for name in listed:
        answer = site.http.get(f"/v1/models/{name}")
        assert (answer.status_code, answer.json().get("id")) == (200, name)


# The way back, and wishes


def test_rolling_back_and_forth(site: Site) -> None:
    name = site.new(MEAN, CLS)
    assert site.load(name, 1).json() == {"name": name, "load": True}
    site.answers(name, 1, MEAN)
    site.publish(f"{name}/3", MAX)
    site.until(name, 3, ("UNAVAILABLE", "version 1 was requested as the default"))
    site.looks()
    site.answers(name, 1, MEAN)
    assert site.load(name).status_code == 200
    site.answers(name, 3, MAX)
    assert site.load(f"{name}:1").status_code == 200
    site.answers(name, 1, MEAN)


def test_loading_and_unloading_by_grpc(site: Site) -> None:
    name = site.new(MEAN, CLS)
    metadata = [("authorization", f"Bearer {TOKEN}")]
    with grpc.insecure_channel(site.server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        load = messages.RepositoryModelLoadRequest(model_name=f"{name}:1")
        with pytest.raises(grpc.RpcError) as raised:
            stub.RepositoryModelLoad(load, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert stub.RepositoryModelLoad(load, metadata=metadata, timeout=DEADLINE_S).isLoaded
        site.answers(name, 1, MEAN)
        unload = messages.RepositoryModelUnloadRequest(model_name=name)
        assert stub.RepositoryModelUnload(unload, metadata=metadata, timeout=DEADLINE_S).isUnloaded
    assert site.ask(name).status_code == 503


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("unknown", None),
        ("unknown", 1),
        ("steady", 9),
        ("..%2fsteady", None),
        ("steady%2f1", None),
        ("..%2f..%2fetc%2fpasswd", None),
    ],
)
def test_an_unknown_model_or_version_cannot_be_loaded(
    site: Site, model: str, version: int | None
) -> None:
    for change in (site.load, site.unload):
        response = change(model, version)
        assert response.status_code == 404, response.text
        assert "is not in the repository" in response.json()["error"]


def test_a_needlessly_encoded_name_is_refused_before_the_repository_is_asked(site: Site) -> None:
    for change in (site.load, site.unload):
        response = change("%2e%2e", None)
        assert response.status_code == 404, response.text
        assert "send it as it is" in response.json()["error"]


@pytest.mark.parametrize("version", ["abc", "01", "0", "1.5", "-1", "../1", "1" * 99])
def test_a_version_that_is_no_number(site: Site, version: str) -> None:
    assert site.load("steady", version).status_code == 400
    assert site.unload("steady", version).status_code == 400
    assert site.ask("steady", version.replace("/", "%2f")).status_code == 404


def test_nothing_changes_without_the_token(site: Site) -> None:
    for path in ("models/steady/unload", "models/steady/load", "index"):
        assert site.http.post(f"/v2/repository/{path}").status_code == 401
    assert site.row("steady", 1) == READY


def test_unload_then_ask(site: Site) -> None:
    name = site.new(MEAN, CLS)
    loaded = site.count("predictor_model_ready", model=name)
    assert site.unload(name).json() == {"name": name, "unload": True}
    response = site.ask(name)
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["error"].startswith(f"model {name!r} is not ready: version ")
    assert site.ask(name, "1").status_code == 503
    assert site.http.get(f"/v2/models/{name}/ready").status_code == 503
    site.until(name, 2, ("UNAVAILABLE", "unloaded by request"))
    assert (loaded, site.count("predictor_model_ready", model=name)) == (1, 0)
    site.looks()
    assert site.ask(name).status_code == 503
    assert site.load(name).status_code == 200
    site.answers(name, 2, CLS)


def test_unload_of_one_version(site: Site) -> None:
    name = site.new(MEAN, CLS)
    assert site.unload(name, 2).status_code == 200
    site.answers(name, 1, MEAN)
    assert site.ask(name, "2").status_code == 404


@pytest.mark.slow
def test_unload_while_requests_run(site: Site, bundle_dir: Path) -> None:
    """What was accepted before is answered; what comes after is told that nobody is there."""
    name = next(_names)
    shutil.copytree(bundle_dir, site.root / name / "1")
    site.until(name, 1, READY)
    rows = 10
    with ThreadPoolExecutor(4) as pool:
        body = {"model": name, "input": [LONG_TEXT] * rows}
        running = [pool.submit(site.http.post, "/v1/embeddings", json=body) for _ in range(4)]
        wait_until(lambda: site.count("predictor_queue_rows", model=name) > rows)
        assert site.unload(name).status_code == 200
        assert site.ask(name).status_code == 503
        assert (site.row(name, 1) or ("", ""))[0] == "UNLOADING"
        answered = [future.result() for future in running]
    assert [response.status_code for response in answered] == [200] * 4
    assert [len(response.json()["data"]) for response in answered] == [rows] * 4
    site.until(name, 1, ("UNAVAILABLE", "unloaded by request"))
    assert site.count("predictor_queue_rows", model=name) == 0


def test_two_loads_at_the_same_time(site: Site) -> None:
    name = site.new(MEAN, CLS, MAX)
    with ThreadPoolExecutor(4) as pool:
        for versions in ((1, 2), (2, 2), (3, 1)):
            outcomes = [pool.submit(site.load, name, version) for version in versions]
            assert [outcome.result().status_code for outcome in outcomes] == [200, 200]
            last = site.ask(name).headers["x-model-version"]
            assert int(last) in versions
            site.answers(name, last, {1: MEAN, 2: CLS, 3: MAX}[int(last)])
    live = [row for row in site.index() if row["name"] == name and row["state"] == "READY"]
    assert len(live) == 1


def test_a_client_that_leaves_while_its_version_is_loaded(site: Site, bundle_dir: Path) -> None:
    name = site.new(NARROW)
    shutil.copytree(bundle_dir, site.root / name / "2")
    metadata = [("authorization", f"Bearer {TOKEN}")]
    with grpc.insecure_channel(site.server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        load = messages.RepositoryModelLoadRequest(model_name=f"{name}:2")
        with pytest.raises(grpc.RpcError) as raised:
            stub.RepositoryModelLoad(load, metadata=metadata, timeout=0.1)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    site.until(name, 2, READY)
    assert site.ask(name).headers["x-model-version"] == "2"


# Bad versions


def edit(**changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = json.loads((folder / MANIFEST).read_bytes())
        (folder / MANIFEST).write_text(json.dumps(content | changes))

    return change


def flip(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 0x10
        (folder / name).write_bytes(content)

    return change


def wrong_vectors(folder: Path) -> None:
    """Whole by its digests, and yet its graph gives others than these."""
    with np.load(folder / CANONICAL) as data:
        texts, vectors = data["texts"], data["vectors"].copy()
    vectors[5] = vectors[6]
    np.savez(folder / CANONICAL, texts=texts, vectors=vectors)
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    edit(files=files | {CANONICAL: sha256(folder / CANONICAL)})(folder)


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


def no_graph(folder: Path) -> None:
    """Whole by its digests, and not loadable."""
    (folder / "model.onnx").write_bytes(b"no graph")
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    edit(files=files | {"model.onnx": sha256(folder / "model.onnx")})(folder)


def deep(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"a":' + "[" * 99_999)


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "corrupted": (flip("model.onnx.data"), "incomplete", "model.onnx.data: differs from the dig"),
    "file-missing": (lambda f: (f / "tokenizer.json").unlink(), "incomplete", "missing, though"),
    "wrong-vectors": (wrong_vectors, "vectors", "canonical vectors of fp32 are not reproduced"),
    "truncated-manifest": (cut(MANIFEST), "invalid", "not a readable manifest"),
    "empty-manifest": (lambda f: (f / MANIFEST).write_bytes(b""), "invalid", "not a readable mani"),
    "other-schema": (edit(schema=99), "invalid", "schema 99"),
    "deep-manifest": (deep, "invalid", "not a readable manifest"),
    "names-other-files": (edit(files={"../../steady/1/model.onnx": ""}), "invalid", "outside of"),
    "no-graph": (no_graph, "invalid", "model.onnx"),
}


@pytest.fixture(scope="module")
def broken(polled: Site) -> dict[str, str]:
    """For each damage a model of a version that answers and a newer one that is damaged."""
    names = {damage: polled.new(MEAN) for damage in BAD}
    for damage, name in names.items():
        polled.publish(f"{name}/2", CLS, BAD[damage][0])
    for damage, name in names.items():
        polled.until(name, 2, ("UNAVAILABLE", BAD[damage][2]))
    polled.looks()
    return names


@pytest.mark.parametrize("damage", BAD)
def test_a_bad_version_is_not_served(site: Site, broken: dict[str, str], damage: str) -> None:
    _, code, _ = BAD[damage]
    name = broken[damage]
    site.answers(name, 1, MEAN)
    state, reason = site.row(name, 2) or ("", "")
    assert (state, site.problems(name)) == ("UNAVAILABLE", {"2": reason})
    assert site.count("predictor_model_failed", model=name, version="2") == 1
    assert site.count("predictor_model_loads_total", model=name, outcome=code) == 1
    site.server.wait_for_log(f"{name} version 2 is not served: ")
    refusal = site.load(name, 2)
    assert refusal.status_code == 409
    assert refusal.json()["error"] == reason
    assert site.load(name).status_code == 409
    site.answers(name, 1, MEAN)


def test_a_bad_version_that_is_mended_is_served(site: Site, broken: dict[str, str]) -> None:
    for name in broken.values():
        shutil.rmtree(site.root / name / "2")
        site.publish(f"{name}/2", CLS)
    for name in broken.values():
        site.until(name, 2, READY)
        site.answers(name, 2, CLS)
        assert site.count("predictor_model_failed", model=name) == 0
        assert site.problems(name) == {}


def test_an_empty_folder_harms_no_version(site: Site) -> None:
    name = site.new(MEAN)
    (site.root / name / "2").mkdir()
    site.until(name, 2, ("UNAVAILABLE", "."))
    site.publish(f"{name}/3", MAX)
    site.until(name, 3, READY)
    site.answers(name, 3, MAX)


def test_other_dimensions_wait_to_be_asked_for(site: Site) -> None:
    name = site.new(MEAN)
    site.publish(f"{name}/2", NARROW)
    held = "version 2 gives 24 dimensions, the vectors served so far have 32"
    site.until(name, 2, ("UNAVAILABLE", held))
    site.looks()
    site.answers(name, 1, MEAN)
    assert held in site.problems(name)["2"]
    assert site.count("predictor_model_failed", model=name, version="2") == 1
    assert site.load(name, 2).status_code == 200
    site.answers(name, 2, NARROW)
    site.looks()
    site.answers(name, 2, NARROW)
    metadata = site.http.get(f"/v2/models/{name}").json()
    assert metadata["outputs"][0]["shape"] == [-1, 24]


def test_dimensions_that_the_manifest_lies_about(site: Site) -> None:
    name = site.new(MEAN)
    site.publish(f"{name}/2", NARROW, edit(dimensions=32))
    site.until(name, 2, ("UNAVAILABLE", r"gives vectors .* 24\] where .* 32\]"))
    site.answers(name, 1, MEAN)
    site.publish(f"{name}/3", CLS, edit(dimensions=-1))
    site.until(name, 3, ("UNAVAILABLE", "gives -1 dimensions"))
    assert site.load(name, 3).status_code == 409
    site.answers(name, 1, MEAN)


def test_names_that_are_no_version(site: Site) -> None:
    name = site.new(MEAN)
    for number in ("abc", "01", "0", "1.5"):
        site.publish(f"{name}/{number}", CLS)
        site.until(name, number, ("UNAVAILABLE", "not a version number"))
        assert site.ask(name, number).status_code == 404
    site.publish("a model/1", CLS)
    site.until("a model", "", ("UNAVAILABLE", "a model's name has"))
    site.looks()
    site.answers(name, 1, MEAN)
    shutil.rmtree(site.root / "a model")


def test_links_out_of_the_repository(site: Site, tmp_path: Path) -> None:
    name = site.new(MEAN)
    shutil.copytree(site.bundles[CLS], tmp_path / "outside" / "1")
    out = "a link that leads out of the repository"
    (site.root / name / "2").symlink_to(tmp_path / "outside" / "1")
    (site.root / "linked").symlink_to(tmp_path / "outside")
    third = site.publish(f"{name}/3", CLS)
    (third / "model.onnx").unlink()
    (third / "model.onnx").symlink_to(tmp_path / "outside" / "1" / "model.onnx")
    site.publish(f"{name}/4", CLS, lambda folder: (folder / "self").symlink_to("self"))
    for number, why in ((2, f"2: {out}"), (3, f"model.onnx: {out}"), (4, "self: ")):
        site.until(name, number, ("UNAVAILABLE", why))
        assert site.load(name, number).status_code == 409
    site.until("linked", "", ("UNAVAILABLE", out))
    assert site.load("linked").status_code == 404
    site.looks()
    site.answers(name, 1, MEAN)
    site.publish(f"{name}/5", CLS)
    site.until(name, 5, READY)


TRAVERSALS = ("../steady", "..", "steady/1", "steady/../steady", "/etc/passwd", "steady:../1", "\0")


@pytest.mark.parametrize("name", TRAVERSALS)
def test_paths_in_names(site: Site, name: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in name.encode())
    assert site.ask(quoted).status_code == 404
    assert site.http.get(f"/v2/models/{quoted}").status_code == 404
    assert site.http.get(f"/v2/models/{quoted}/ready").status_code == 404
    assert site.http.get(f"/v1/models/{quoted}").status_code == 404
    body = {"model": name, "input": TEXT}
    assert site.http.post("/v1/embeddings", json=body).status_code == 404
    with grpc.insecure_channel(site.server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        ready = stub.ModelReady(messages.ModelReadyRequest(name=name), timeout=DEADLINE_S)
        assert not ready.ready
        calls: list[tuple[Any, Any]] = [
            (stub.ModelMetadata, messages.ModelMetadataRequest(name="steady", version=name)),
            (stub.ModelInfer, messages.ModelInferRequest(model_name=name)),
        ]
        for call, request in calls:
            with pytest.raises(grpc.RpcError) as raised:
                call(request, timeout=DEADLINE_S)
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND


# Deleted while it serves


def test_a_deleted_version_is_served_on(site: Site) -> None:
    name = site.new(MEAN)
    shutil.rmtree(site.root / name)
    site.until(name, 1, ("READY", "its files were removed; it is served until another"))
    site.answers(name, 1, MEAN)
    site.publish(f"{name}/2", CLS)
    site.until(name, 2, READY)
    site.answers(name, 2, CLS)
    site.until(name, 1, None)


def test_a_deleted_version_makes_room_for_the_one_before(site: Site) -> None:
    name = site.new(MEAN, CLS)
    shutil.rmtree(site.root / name / "2")
    site.until(name, 2, None)
    site.answers(name, 1, MEAN)


def test_a_version_whose_files_change_is_served_as_it_was(site: Site) -> None:
    name = site.new(MEAN)
    flip("model.onnx.data")(site.root / name / "1")
    site.until(
        name, 1, ("READY", "its files were changed; the version that was loaded is still served")
    )
    site.answers(name, 1, MEAN)


# Copied file by file


def copy(files: Sequence[Path], into: Path, pause_s: float) -> None:
    """As `cp -r` does, with a pause before each file but the first and within each."""
    for file in files:
        if file is not files[0]:
            time.sleep(pause_s)
        content = file.read_bytes()
        with (into / file.name).open("wb") as target:
            target.write(content[: len(content) // 2])
            target.flush()
            time.sleep(pause_s)
            target.write(content[len(content) // 2 :])


def test_directories_that_are_being_copied(site: Site, sources: dict[str, Path]) -> None:
    """Longer pauses than two looks take: half of it is found wanting, and tried again."""
    bundle = sorted(site.bundles[CLS].iterdir(), key=lambda path: path.name != MANIFEST)
    source = [path for path in sorted(sources[CLS].iterdir()) if path.is_file()]
    weights_last = sorted(source, key=lambda path: path.suffix == ".safetensors")
    settings_last = sorted(source, key=lambda path: path.name in ("modules.json", "config.json"))
    long, short = 2.5 * POLL_S, POLL_S / 4
    copies = [
        (bundle, long),
        (bundle[::-1], long),
        (weights_last, POLL_S),
        (weights_last[::-1], short),
        (settings_last, short),
    ]
    names = [site.new(MEAN) for _ in copies]
    with ThreadPoolExecutor(len(copies)) as pool:
        copying = []
        for name, (files, pause_s) in zip(names, copies, strict=True):
            folder = site.root / name / "2"
            folder.mkdir()
            if files is not bundle and files is not copies[1][0]:
                shutil.copytree(sources[CLS] / "1_Pooling", folder / "1_Pooling")
            copying.append(pool.submit(copy, files, folder, pause_s))
        while not all(future.done() for future in copying):
            for name, future in zip(names, copying, strict=True):
                if not future.done():
                    response = site.ask(name)
                    assert response.status_code == 200
                    if not future.done():
                        assert response.headers["x-model-version"] == "1"
            time.sleep(POLL_S / 3)
        for future in copying:
            future.result()
    for name in names:
        site.until(name, 2, READY)
        site.answers(name, 2, CLS)


def test_a_repository_api_that_is_asked_for_half_a_directory(site: Site) -> None:
    name = site.new(MEAN)
    folder = site.root / name / "2"
    folder.mkdir()
    shutil.copy(site.bundles[CLS] / MANIFEST, folder)
    response = site.load(name, 2)
    assert response.status_code == 409
    assert "missing, though bundle.json lists it" in response.json()["error"]
    site.answers(name, 1, MEAN)


# From nothing; a root that comes and goes; what may not be read


# Runs a command that obeys permissions, whoever runs the tests: it drops CAP_DAC_OVERRIDE and
# CAP_DAC_READ_SEARCH from what its programs may have. In a process of its own, because a fork of
# this one, with gRPC's threads, may never come to its exec.
OBEYS_PERMISSIONS = (
    sys.executable,
    "-c",
    "import ctypes, os, sys\n"
    "libc = ctypes.CDLL(None)\n"
    "for capability in (1, 2): libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP\n"
    "os.execv(sys.argv[1], sys.argv[1:])",
)


def test_from_nothing_and_away_and_back(
    tmp_path: Path, bundles: dict[str, Path], token_file: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    flags = (
        f"--cache-dir={tmp_path / 'cache'}",
        f"--poll-interval-s={POLL_S}",
        f"--admin-token-file={token_file}",
    )
    with (
        serving(root, bundles, *flags, wrapper=OBEYS_PERMISSIONS) as site,
        ExitStack() as last,
    ):
        # Empty: it runs, and is not ready.
        assert site.http.get("/v2/health/live").status_code == 200
        assert site.http.get("/v2/health/ready").status_code == 503
        assert site.http.get("/health").status_code == 503
        assert site.http.post("/embed", json={"inputs": TEXT}).status_code == 503
        assert site.index() == []
        # A model appears, among folders that may not be read.
        for closed in ("closed", "open/2"):
            (root / closed).mkdir(parents=True)
            (root / closed).chmod(0)
            last.callback((root / closed).chmod, 0o755)
        site.publish("open/1", MEAN)
        wait_until(lambda: site.http.get("/v2/health/ready").status_code == 200)
        site.answers("open", 1, MEAN)
        site.until("open", 2, ("UNAVAILABLE", "2: cannot be read: Permission denied"))
        site.until("closed", "", ("UNAVAILABLE", "cannot be listed: Permission denied"))
        assert "Permission denied" in site.problems("open")["2"]
        # What may be read after all.
        shutil.rmtree(root / "open" / "2")
        site.publish("open/2", CLS)
        site.until("open", 2, READY)
        # The root may not be read, is not there, is empty, and is back.
        root.chmod(0)
        last.callback(root.chmod, 0o755)
        wait_until(lambda: site.count("predictor_repository_polls_total", outcome="error") >= 2)
        site.answers("open", 2, CLS)
        root.chmod(0o755)
        away = root.rename(tmp_path / "away")
        failed = site.count("predictor_repository_polls_total", outcome="error")
        wait_until(lambda: site.count("predictor_repository_polls_total", outcome="error") > failed)
        site.answers("open", 2, CLS)
        assert site.load("open", 7).status_code == 404
        root.mkdir()
        site.until("open", 2, ("READY", "its files were removed"))
        site.answers("open", 2, CLS)
        root.rmdir()
        away.rename(root)
        site.until("open", 2, READY)
        site.publish("open/3", MAX)
        site.until("open", 3, READY)
        site.answers("open", 3, MAX)
        blind = [line for line in site.server.lines if "cannot scan the repository" in line]
        assert len(blind) <= 4, "a line for each thing that happened, not for each look"


def refused(*flags: str, wrapper: Sequence[str] = ()) -> tuple[int, str]:
    """Exit code and the one line of a server that does not start."""
    ended = subprocess.run(
        [*wrapper, sys.executable, "-m", "predictor", "serve", "--host=127.0.0.1", *FREE_PORTS,
         *flags],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("predictor: ")]
    assert len(lines) == 1, ended.stderr
    return ended.returncode, lines[0].removeprefix("predictor: ")


def test_an_empty_repository_without_polling(tmp_path: Path) -> None:
    (tmp_path / "m" / "01").mkdir(parents=True)
    code, line = refused(f"--model-dir={tmp_path}")
    assert code == 1
    assert "no model here" in line
    assert "m/01: not a version number" in line


def test_a_closed_repository_without_polling(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    code, line = refused(f"--model-dir={closed}", wrapper=OBEYS_PERMISSIONS)
    assert code in (1, 2)
    assert "Permission denied" in line


def test_a_policy_that_is_none(tmp_path: Path) -> None:
    code, line = refused(f"--model-dir={tmp_path}", "--version-policy=newest")
    assert code == 2
    assert line.startswith("--version-policy: 'newest' is not latest:N, all or specific:1,3")


# SIGHUP, and a limit


@pytest.fixture(scope="module")
def still(
    bundles: dict[str, Path], token_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Looks only when it is told to, and has 4 GiB."""
    work = tmp_path_factory.mktemp("still")
    shutil.copytree(bundles[MEAN], work / "root" / "m" / "1")
    flags = (
        f"--cache-dir={work / 'cache'}",
        f"--admin-token-file={token_file}",
        "--memory-limit-mb=4096",
    )
    with serving(work / "root", bundles, *flags) as site:
        yield site


def test_sighup_finds_a_new_version(still: Site) -> None:
    site = still
    looks = site.count("predictor_repository_polls_total")
    site.publish("m/2", CLS)
    site.server.process.send_signal(signal.SIGHUP)
    site.until("m", 2, READY)
    site.answers("m", 2, CLS)
    assert site.count("predictor_repository_polls_total") - looks == 2


def test_many_sighups(still: Site) -> None:
    site = still
    looks = site.count("predictor_repository_polls_total")
    site.publish("m/3", MAX)
    for _ in range(5):
        site.server.process.send_signal(signal.SIGHUP)
    site.until("m", 3, READY)
    site.answers("m", 3, MAX)
    assert site.count("predictor_repository_polls_total") - looks <= 7
    assert site.count("predictor_model_loads_total", model="m", outcome="ready") >= 2


def test_a_load_finds_a_new_version_at_once(still: Site) -> None:
    still.publish("other/1", CLS)
    assert still.load("other").status_code == 200
    still.answers("other", 1, CLS)


def test_a_version_that_does_not_fit(still: Site, sources: dict[str, Path]) -> None:
    """A tensor of 8 GiB that takes no room on the disk: weights that will be loaded are counted."""
    site = still
    name = next(_names)
    site.publish(f"{name}/1", MEAN)
    assert site.load(name).status_code == 200

    def large(folder: Path) -> None:
        path = folder / "model.safetensors"
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        tensors, data = json.loads(content[8:end]), content[end:]
        size = len(data) + (8 << 30)
        tensors["large"] = {
            "dtype": "F32",
            "shape": [2 << 30],
            "data_offsets": [len(data), size],
        }
        head = json.dumps(tensors).encode()
        path.write_bytes(len(head).to_bytes(8, "little") + head + data)
        os.truncate(path, 8 + len(head) + size)

    hidden = shutil.copytree(sources[CLS], site.root / ".aside")
    large(hidden)
    hidden.rename(site.root / name / "2")
    response = site.load(name, 2)
    assert response.status_code == 409
    # The weights once for each session; a session for each of at most two threads.
    sentence = r"needs about (82|164)\d\d MiB beside the \d+ MiB in use; the limit is 4096 MiB"
    assert re.search(sentence, response.json()["error"])
    site.until(name, 2, ("UNAVAILABLE", sentence))
    assert site.count("predictor_model_failed", model=name, version="2") == 1
    assert site.count("predictor_model_loads_total", model=name, outcome="memory") == 1
    assert re.search(sentence, site.problems(name)["2"])
    site.answers(name, 1, MEAN)


def test_memory_is_given_back(still: Site, bundle_dir: Path) -> None:
    """All-MiniLM-L6-v2 up and down: what it took is not kept."""
    site = still
    shutil.copytree(bundle_dir, site.root / "minilm" / "1")
    resident: list[int] = []
    for times in (1, 2, 3):
        assert site.load("minilm").status_code == 200
        loaded = _resident_mib(site)
        assert site.unload("minilm").status_code == 200
        wait_until(lambda times=times: _unloads(site, "minilm") == times)  # type: ignore[misc]
        # A check of the canonical texts may hold the version for a moment longer.
        wait_until(lambda loaded=loaded: loaded - _resident_mib(site) > 60)  # type: ignore[misc]
        # Beside it, freed pages are given back every ten seconds.
        wait_until(lambda: not resident or _resident_mib(site) - resident[0] < 20)
        resident.append(_resident_mib(site))


def _unloads(site: Site, model: str) -> int:
    """How often the log says that a version's memory was given back."""
    return sum(f"unloaded {model} version" in line for line in site.server.lines)


def _resident_mib(site: Site) -> int:
    status = Path(f"/proc/{site.server.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) // 1024


def test_stopping_while_a_version_is_loaded(
    tmp_path: Path, bundles: dict[str, Path], token_file: Path, bundle_dir: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(bundles[MEAN], root / "m" / "1")
    flags = (
        f"--admin-token-file={token_file}",
        f"--poll-interval-s={POLL_S}",
        "--grace-period-s=1",
    )
    with serving(root, bundles, f"--cache-dir={tmp_path / 'cache'}", *flags) as site:
        shutil.copytree(bundle_dir, root / "other" / "1")
        site.until("other", 1, ("LOADING", ""))
        site.server.terminate()
        assert site.server.stop() == 0

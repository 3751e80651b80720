"""The container image: what is in it, and that it serves as an unknown user of a read-only root."""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from predictor import __version__
from predictor.server.http import swagger
from tests.image import buildah
from tests.reference.texts import texts

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

if reason := buildah.why_not():
    pytest.skip(reason, allow_module_level=True)

REFERENCE = Path(__file__).parents[1] / "reference/minilm.npz"
UID = 54321  # neither root nor the image's own: OpenShift and others give a pod any uid
LARGEST_MB = 400  # over the base
LARGEST_COMPRESSED_MB = 200  # with the base
SLOWEST_START_S = 5.0
SBOM = "opt/predictor/sbom.cdx.json"
UNWANTED = {
    "torch", "transformers", "sentence_transformers", "pip", "setuptools", "wheel", "pytest",
    "grpcio_tools", "pandas", "pillow", "huggingface_hub", "redis", "kserve_storage",
}  # fmt: skip
COMPILERS = re.compile(r"(.*-)?(gcc|g\+\+|cc|c\+\+|clang|ld|as|pip)([-\d.]*)")


@pytest.fixture(scope="session")
def built() -> Iterator[tuple[str, str]]:
    """Tag of the image, and the line that hack/image.sh prints."""
    try:
        base = buildah.base_image()
    except LookupError as error:
        pytest.skip(str(error))
    tag = f"localhost/predictor:test-{os.getpid()}"
    with buildah.built(base, tag) as line:
        yield tag, line


@pytest.fixture(scope="session")
def tag(built: tuple[str, str]) -> str:
    return built[0]


@pytest.fixture(scope="session")
def root(tag: str) -> Iterator[Path]:
    with buildah.mounted(tag) as folder:
        yield folder


@pytest.fixture
def inside(root: Path, tag: str, model_dir: Path) -> list[str]:
    """What stands before a command that runs inside, with the image's environment."""
    return buildah.command_in(root, model_dir, UID, buildah.read_config(tag)["Env"])


def site_packages(root: Path) -> Path:
    (folder,) = (root / "opt/predictor/lib").glob("python3.*/site-packages")
    return folder


def test_it_adds_little_to_its_base(
    built: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = built[1]
    with capsys.disabled():
        print(f"\n{line}")
    added = re.search(r"(\d+) MB over", line)
    assert added is not None
    assert 100 < int(added[1]) < LARGEST_MB


def test_it_is_small_to_pull(tag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = buildah.compressed_size(tag, tmp_path / "image")
    shutil.rmtree(tmp_path / "image")
    with capsys.disabled():
        print(f"\ncompressed: {size / 1e6:.0f} MB, the base included")
    assert size < LARGEST_COMPRESSED_MB * 1e6


def test_it_says_how_it_is_run(tag: str) -> None:
    config = buildah.read_config(tag)
    assert config["Entrypoint"] == ["predictor"]
    assert config["Cmd"] == ["serve"]
    assert config["User"].split(":")[0].isdigit()
    assert config["User"].split(":")[0] != "0"
    assert set(config["ExposedPorts"]) == {"8080", "8081"} or set(config["ExposedPorts"]) == {
        "8080/tcp", "8081/tcp",
    }  # fmt: skip
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert {"ORT_DISABLE_TELEMETRY=1", "MALLOC_ARENA_MAX=2"} <= set(config["Env"])


def test_it_holds_only_what_serving_needs(root: Path) -> None:
    packages = site_packages(root)
    installed = {folder.name.split("-")[0].lower() for folder in packages.glob("*.dist-info")}
    assert {"predictor", "onnxruntime", "kserve"} <= installed
    assert not installed & UNWANTED
    assert not {folder.name for folder in packages.iterdir()} & UNWANTED
    assert not list(packages.rglob("tests"))
    static = (packages / "fastapi_offline/static").iterdir()
    assert {path.name for path in static} == set(swagger.ASSETS)
    assert [folder.name for folder in (root / "opt").iterdir()] == ["predictor"]


def test_the_bill_of_materials_names_all_that_is_installed(root: Path) -> None:
    content = json.loads((root / SBOM).read_text())
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    main = content["metadata"]["component"]
    assert (main["name"], main["version"]) == ("predictor", __version__)
    listed = {part["purl"] for part in [main, *content["components"]]}
    folders = site_packages(root).glob("*.dist-info")
    installed = [folder.name.removesuffix(".dist-info").split("-") for folder in folders]
    assert {f"pkg:pypi/{re.sub(r'[_.]+', '-', name).lower()}@{v}" for name, v in installed} == {
        url for url in listed if url.startswith("pkg:pypi/")
    }
    assert any(url.startswith("pkg:generic/python@3.") for url in listed)
    status = root / "var/lib/dpkg/status"
    assert not status.is_file() or any(url.startswith("pkg:deb/debian/libc6@") for url in listed)
    known = {part["bom-ref"] for part in [main, *content["components"]]}
    for dependency in content["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= known


def test_all_of_the_package_can_be_imported(inside: list[str]) -> None:
    """What was taken out is missed by nothing; what only an extra brings is imported where used."""
    program = (
        "import importlib, pkgutil, predictor\n"
        "for found in pkgutil.walk_packages(predictor.__path__, 'predictor.'):\n"
        # The home of what the extra `otel` brings, imported only where that is installed.
        "    if not found.name.endswith(('__main__', 'tracing.otlp')):\n"
        "        importlib.import_module(found.name)\n"
    )
    ran = subprocess.run([*inside, "python", "-c", program], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]


def test_it_holds_no_compiler_and_no_installer(root: Path) -> None:
    folders = [root / "opt/predictor/bin", *root.glob("usr/bin"), *root.glob("usr/local/bin")]
    programs = {program.name for folder in folders for program in folder.iterdir()}
    ours = {program.name for program in (root / "opt/predictor/bin").iterdir()}
    assert {name for name in ours if not name.startswith("python")} == {"predictor"}
    assert [program for program in programs if COMPILERS.fullmatch(program)] == []
    assert list(root.glob("usr/**/pip/__main__.py")) == []


def test_its_bytecode_is_compiled_and_never_checked(root: Path) -> None:
    """Else a read-only image would compile at every start, or do it when a builder sets times."""
    (compiled,) = site_packages(root).glob("predictor/cli/__pycache__/serve.*.pyc")
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01  # PEP 552


def test_only_root_can_write_to_the_environment(root: Path) -> None:
    writable = [
        path
        for path in (root / "opt").rglob("*")
        if not path.is_symlink()
        and (path.stat().st_uid != 0 or path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    ]
    assert writable == []


def test_the_chroot_is_as_strict_as_it_claims(inside: list[str]) -> None:
    """That what follows shows something: nothing can be written but /tmp, and root is nowhere."""
    program = (
        "import os\n"
        "for folder in ('/', '/opt/predictor', '/mnt/models', '/var/tmp', '/dev', '/tmp'):\n"
        "    try: open(folder + '/x', 'w').close()\n"
        "    except OSError: continue\n"
        "    print(folder)\n"
        "print(os.getuid(), os.getgid(), os.getgroups())\n"
    )
    command = [*inside, "python", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"/tmp\n{UID} {UID} [{UID}]\n"
    assert subprocess.run([*inside, "sh", "-c", ":"], capture_output=True, check=False).returncode


def test_it_knows_its_version(inside: list[str], tag: str) -> None:
    command = [*inside, *buildah.read_config(tag)["Entrypoint"], "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"predictor {__version__}\n"


def test_it_is_ready_soon(
    root: Path, tag: str, bundle_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a bundle there is nothing to convert. The better of two: the first fills the caches."""
    config = buildah.read_config(tag)
    inside = buildah.command_in(root, bundle_dir, UID, config["Env"])
    flags = ["--http_port=0", "--grpc_port=0", "--drain-delay-s=0"]
    times: list[float] = []
    for _ in range(2):
        server = buildah.Running([*inside, *config["Entrypoint"], *config["Cmd"], *flags])
        server.close()
        times.append(server.start_s)
    with capsys.disabled():
        print(f"\nready after {times[0]:.1f} s and {times[1]:.1f} s with a bundle")
    assert min(times) <= SLOWEST_START_S


def test_it_serves_the_mounted_model(
    inside: list[str], tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default command, but for free ports and a shutdown that waits for no endpoints."""
    config = buildah.read_config(tag)
    ports = ["--http_port=0", "--grpc_port=0", "--drain-delay-s=0"]
    with np.load(REFERENCE) as reference:
        row = int(np.flatnonzero(reference["token_counts"] > 20)[0])
        expected = reference["vectors"][row]
    server = buildah.Running([*inside, *config["Entrypoint"], *config["Cmd"], *ports])
    try:
        with capsys.disabled():
            print(f"\nready after {server.start_s:.1f} s, the conversion of the model included")
        answer = server.post("/v1/embeddings", {"model": "model", "input": texts()[row]})
        vector = np.array(answer["data"][0]["embedding"])
        cosine = vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)
        assert cosine >= 0.99999
        assert server.stop() == 0, "\n".join(server.lines[-20:])
    finally:
        server.close()

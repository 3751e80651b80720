"""The container image: what is in it, and that it serves as an unknown user of a read-only root."""

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from predictor import __version__
from tests.image import buildah
from tests.reference.texts import texts

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

if reason := buildah.why_not():
    pytest.skip(reason, allow_module_level=True)

REFERENCE = Path(__file__).parents[1] / "reference/minilm.npz"
UID = 54321  # neither root nor the image's own: OpenShift and others give a pod any uid
LARGEST_MB = 700
UNWANTED = {
    "torch", "transformers", "sentence_transformers", "pip", "setuptools", "wheel", "pytest",
    "grpcio_tools",
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
    assert [folder.name for folder in (root / "opt").iterdir()] == ["predictor"]


def test_it_holds_no_compiler_and_no_installer(root: Path) -> None:
    folders = [root / "opt/predictor/bin", *root.glob("usr/bin"), *root.glob("usr/local/bin")]
    programs = {program.name for folder in folders for program in folder.iterdir()}
    assert "predictor" in programs
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


def test_it_knows_its_version(inside: list[str], tag: str) -> None:
    command = [*inside, *buildah.read_config(tag)["Entrypoint"], "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"predictor {__version__}\n"


def test_it_serves_the_mounted_model(
    inside: list[str], tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default command, but for free ports and a shutdown that waits for no endpoints."""
    config = buildah.read_config(tag)
    ports = ["--http_port=0", "--grpc_port=0", "--drain-delay=0"]
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

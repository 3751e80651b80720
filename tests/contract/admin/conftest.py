"""What changes the server: closed by default, then for who has the token, or on the pod's port."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.admin.opened import (
    BEARER,
    MODELS,
    TOKEN,
    Served,
    default_version,
    free_port,
)
from tests.deadlines import DEADLINE_S
from tests.serving import Server


@pytest.fixture(scope="package")
def repository(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """minilm/1, minilm/2, and broken/1, of which a file is damaged."""
    root = tmp_path_factory.mktemp("admin")
    for version in ("minilm/1", "minilm/2", "broken/1"):
        shutil.copytree(bundle_dir, root / version, copy_function=os.link)
    tokenizer = root / "broken/1/tokenizer.json"
    content = tokenizer.read_bytes()
    tokenizer.unlink()  # a hard link, as all files here
    tokenizer.write_bytes(content[:-1])
    return root


@pytest.fixture(scope="package")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture(scope="package")
def closed(repository: Path) -> Iterator[Server]:
    """A server as it is by default."""
    running = Served(repository, "--null-engine")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="package")
def with_token(repository: Path, token_file: Path) -> Iterator[Served]:
    """Opened to who has the token, on both ports; without an engine, so loading takes no time."""
    port = free_port()
    flags = (f"--admin-token-file={token_file}", f"--admin-port={port}", "--null-engine")
    running = Served(repository, "--log-level=debug", *flags)
    running.admin_port = port
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="package")
def with_port(repository: Path) -> Iterator[Served]:
    """Opened to the pod itself, while it serves on every address; with an engine and a cache."""
    port = free_port()
    running = Served(repository, "--host=0.0.0.0", f"--admin-port={port}")
    running.admin_port = port
    yield running
    assert running.stop() == 0


@pytest.fixture
def anybody(with_token: Served) -> Iterator[httpx.Client]:
    """Somebody without a token."""
    with httpx.Client(base_url=with_token.url, timeout=DEADLINE_S) as client:
        yield client


@pytest.fixture
def operator(with_token: Served) -> Iterator[httpx.Client]:
    """Somebody with the token; leaves version 2 as the one that answers, and no shadow."""
    with httpx.Client(base_url=with_token.url, headers=BEARER, timeout=DEADLINE_S) as client:
        yield client
        client.delete("/admin/shadow").raise_for_status()
        client.post(f"{MODELS}/minilm/load").raise_for_status()
        assert default_version(client) == "2"

"""A server as a pod has it: 1 GiB of memory, API keys, short clocks."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.cgroup import memory_cgroup, wrapper
from tests.serving import Server, model_flags

KEY = "sk-0123456789abcdef0123456789abcdef"
DESCRIPTORS = 256
BODY_TIMEOUT_S = 4
# 32 MiB of the limit of 1 GiB, of which the server takes nine tenths; 8 MiB of answers.
WAITING_SHARE = 0.035


@pytest.fixture(scope="module")
def pod(
    model_dir: Path,
    cache_dir: Path,
    bundle_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server that requires a key; at its end it must still have been alive."""
    del bundle_dir
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys.write_text(json.dumps({"keys": [{"name": "client", "sha256": digest}]}))
    flags = [
        *model_flags(model_dir, cache_dir),
        "--cache-mb=64",
        f"--api-keys-file={keys}",
        "--first-byte-timeout-s=3",
        "--header-timeout-s=2",
        f"--body-timeout-s={BODY_TIMEOUT_S}",
        "--keep-alive-timeout-s=10",
        f"--waiting-memory-share={WAITING_SHARE}",
        "--drain-delay-s=0",
        "--grace-period-s=5",
    ]
    with memory_cgroup() as folder:
        server = Server(*flags, wrapper=wrapper(folder, DESCRIPTORS))
        try:
            yield server
        finally:
            code = server.stop()
    assert code == 0

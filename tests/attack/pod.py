"""A server in a memory cgroup of 1 GiB, started by programs that are no tests."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.attack.cgroup import memory_cgroup, wrapper
from tests.attack.target import Target, target_of
from tests.serving import Server

KEY = "sk-0123456789abcdef0123456789abcdef"
DESCRIPTORS = 1024


def keys_file(folder: Path) -> Path:
    """A file with the digest of KEY."""
    keys = folder / "keys.json"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys.write_text(json.dumps({"keys": [{"name": "client", "sha256": digest}]}))
    return keys


@contextmanager
def started(folder: Path, *flags: str) -> Iterator[tuple[Server, Target]]:
    """A server with default limits, in a cgroup if one can be made."""
    with ExitStack() as stack:
        try:
            command = wrapper(stack.enter_context(memory_cgroup()), DESCRIPTORS)
        except pytest.skip.Exception as reason:
            print(f"without a limit of memory: {reason}")
            command = []
        server = Server(
            *flags,
            "--model_name=minilm",
            f"--api-keys-file={keys_file(folder)}",
            "--drain-delay-s=0",
            wrapper=command,
        )
        stack.callback(server.stop)
        yield server, target_of(server, KEY)


def resident_mb(server: Server) -> float:
    """MiB that a server uses now."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024

"""A container image made with buildah, looked into and run without a container runtime.

Run in a chroot of the mounted image, in a mount namespace of its own, and not by `buildah run`:
that cannot make the root read-only, and its chroot isolation shows the image the machine's own /dev
and /sys. Here the process sees what a pod sees: a read-only root, a /tmp, the model, a bare /dev;
any uid, no capabilities. And no shell: each is covered by an empty file. All mounts go when the
process goes, however it ends. Only the network and the processes are the machine's.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deadlines import DEADLINE_S

ROOT = Path(__file__).parents[2]
BASE = "localhost/python:slim-bookworm"
# Makes a base image where no registry can be reached; not part of the repository.
KIT = ROOT.parent / "shared/cluster/kit"
NO_BASE = f"no base image: tag a Python image as {BASE} in buildah's storage"
TOOLS = ("buildah", "unshare", "mount", "chroot")

# $1 root, $2 model, $3 uid; then the command. A bind mount on itself is what can be made read-only.
ENTER = """
set -e
root=$1 model=$2 uid=$3
shift 3
mount --bind "$root" "$root"
mkdir -p "$root/mnt/models"
mount --bind "$model" "$root/mnt/models"
mount -o remount,bind,ro "$root/mnt/models"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom; do
  touch "$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mount -o remount,bind,ro "$root/dev"
for shell in sh dash bash; do
  if [ -e "$root/bin/$shell" ]; then mount --bind /dev/null "$root/bin/$shell"; fi
done
mount -o remount,bind,ro "$root"
exec chroot --userspec="$uid:$uid" --groups="$uid" "$root" /usr/bin/env -i "$@"
"""


def why_not() -> str | None:
    """Why no image can be built and run here, in one line; None if it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "needs root, to build with buildah and to mount what it built"
    if not _has_base() and not KIT.is_file():
        return NO_BASE
    return None


def base_image() -> str:
    """The base to build on, made if it is not there.

    Raises:
        LookupError: it cannot be had; says why in one line.
    """
    if not _has_base():
        made = subprocess.run([KIT, "base"], capture_output=True, text=True, check=False)
        if made.returncode != 0 or not _has_base():
            lines = made.stderr.strip().splitlines() or ["no message"]
            raise LookupError(f"{NO_BASE} ({lines[-1]})")
    return BASE


def _has_base() -> bool:
    command = ["buildah", "inspect", "--type", "image", BASE]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def buildah(*arguments: str) -> str:
    return subprocess.run(
        ["buildah", *arguments], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


@contextmanager
def built(base: str, tag: str) -> Iterator[str]:
    """Build the image; yields the line about its size. What remains is the cache of the layers.

    Raises:
        RuntimeError: it could not be built.
    """
    building = subprocess.Popen(
        [ROOT / "hack/image.sh", "--base", base, "--tag", tag],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        printed, log = building.communicate()
        if building.returncode != 0:
            raise RuntimeError("hack/image.sh failed:\n" + log[-4000:])
        yield printed.strip()
    finally:
        if building.poll() is None:  # interrupted: buildah removes its containers on SIGTERM
            os.killpg(building.pid, signal.SIGTERM)
            building.communicate()
        subprocess.run(["buildah", "rmi", tag], capture_output=True, check=False)


@contextmanager
def mounted(tag: str) -> Iterator[Path]:
    """The image's file system as a folder."""
    container = buildah("from", "--pull-never", tag)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


def compressed_size(tag: str, folder: Path) -> int:
    """Bytes of all layers as a registry keeps them, the base's too; written to the folder."""
    buildah("push", "--quiet", tag, f"oci:{folder}:image")
    blobs = folder / "blobs/sha256"
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    manifest = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_text())
    return sum(layer["size"] for layer in manifest["layers"])


def read_config(tag: str) -> dict[str, Any]:
    """Env, User, Entrypoint, Cmd, Labels …: what a container runtime goes by."""
    config: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", tag))["OCIv1"][
        "config"
    ]
    return config


def command_in(
    root: Path, model_dir: Path, uid: int, environment: list[str], *command: str
) -> list[str]:
    """The command line that runs a command inside, with nothing but that environment."""
    return [
        "unshare", "--mount", "--propagation=private", "sh", "-c", ENTER, "enter",
        str(root), str(model_dir.resolve()), str(uid), *environment, "HOME=/", *command,
    ]  # fmt: skip


class Running:
    """A server inside; it is ready when this is made."""

    def __init__(self, command: list[str]) -> None:
        self.lines: list[str] = []
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        start = time.monotonic()
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = f"http://127.0.0.1:{self._listening()['http']}"
            with urllib.request.urlopen(
                f"{self.url}/v2/health/ready", timeout=DEADLINE_S
            ) as answer:
                assert answer.status == 200
        except BaseException:
            self.close()
            raise
        self.start_s = time.monotonic() - start

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            try:
                self._events.put(json.loads(line))
            except ValueError:
                continue
        self._events.put(None)

    def _listening(self) -> dict[str, Any]:
        while (event := self._events.get(timeout=DEADLINE_S)) is not None:
            if event.get("message") == "listening":
                return event
        raise RuntimeError("the server did not start:\n" + "\n".join(self.lines[-20:]))

    def post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def stop(self) -> int:
        """SIGTERM, as the kubelet does; the exit code."""
        self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

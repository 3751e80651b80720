"""Where this process's cgroups are, version 1 or 2: what a pod's limits are read from."""

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def own_groups(controller: str, root: Path = CGROUP, membership: Path = SELF) -> list[Path]:
    """Folders of this process's cgroup and its parents, for the v2 tree and v1's `controller`."""
    try:
        return _named_in(membership.read_text(), controller, root)
    except (OSError, ValueError):
        return [root, root / controller]


def _named_in(membership: str, controller: str, root: Path) -> list[Path]:
    folders: list[Path] = []
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base = root
        elif controller in controllers.split(","):
            base = root / controller
        else:
            continue
        inside = Path(path.lstrip("/"))
        folders += [base / inside, *(base / parent for parent in inside.parents)]
    return folders

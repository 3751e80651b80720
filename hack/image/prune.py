"""Prints what is installed and no server needs, one name a line: for pip uninstall.

Usage: python -m hack.image.prune EXTRA[,EXTRA...] SITE_PACKAGES
"""

import sys
from pathlib import Path

from hack.image.installed import installed, needs


def unneeded(extras: list[str], site_packages: Path) -> list[str]:
    """Canonical names, sorted. Raises LookupError: the package itself is not installed."""
    known = installed([site_packages])
    return sorted(known.keys() - needs(known, extras).keys())


if __name__ == "__main__":
    for line in unneeded(sys.argv[1].split(","), Path(sys.argv[2])):
        sys.stdout.write(line + "\n")

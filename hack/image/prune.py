"""Prints what is installed and no server needs, one line each.

Usage: python -m hack.image.prune distributions EXTRA[,EXTRA...] SITE_PACKAGES   (for pip uninstall)
       python -m hack.image.prune files SITE_PACKAGES                            (for rm)
"""

import sys
from pathlib import Path

from hack.image.installed import SERVED_FILES, installed, needs


def unneeded(extras: list[str], site_packages: Path) -> list[str]:
    """Canonical names of distributions, sorted.

    Raises:
        LookupError: the package itself is not installed.
    """
    known = installed([site_packages])
    return sorted(known.keys() - needs(known, extras).keys())


def unserved(site_packages: Path) -> list[Path]:
    """Files beside those that are served, sorted.

    Raises:
        LookupError: a file that is served is not there.
    """
    files: list[Path] = []
    for folder, served in SERVED_FILES.items():
        present = {path.name: path for path in (site_packages / folder).glob("*")}
        if missing := served - present.keys():
            raise LookupError(f"{folder} has no {', '.join(sorted(missing))}")
        files += [path for name, path in present.items() if name not in served]
    return sorted(files)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["distributions", extras, folder]:
            lines = unneeded(extras.split(","), Path(folder))
        case ["files", folder]:
            lines = [str(path) for path in unserved(Path(folder))]
        case _:
            sys.exit(__doc__)
    sys.stdout.writelines(f"{line}\n" for line in lines)

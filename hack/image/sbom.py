"""The image's bill of materials: CycloneDX 1.6 as JSON, from what is installed and nothing else.

Python distributions with their licences and who needs whom, the interpreter, and the base's Debian
packages. Libraries inside wheels (OpenBLAS in numpy's) belong to their wheel. The same content is
the same file: no time, and the serial number is made of the content.

Usage: python -m hack.image.sbom EXTRA[,EXTRA...] SITE_PACKAGES...
"""

import json
import platform
import sys
import uuid
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hack.image.installed import ROOT, installed, needs

FORMAT = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
LONGEST_NAME = 64  # of a licence; what is longer is its text
CLASSIFIER = "License :: "


def bill(extras: list[str], folders: list[Path], root: Path) -> dict[str, Any]:
    """The whole document.

    Args:
        folders: site-packages, the package's own among them.
        root: of the file system whose Debian packages are listed.

    Raises:
        LookupError: the package is not in the folders.
    """
    known = installed(folders)
    needed = needs(known, extras)
    parts = {name: _python_part(name, one) for name, one in sorted(known.items())}
    main = parts.pop(ROOT) | {"type": "application"}
    content: dict[str, Any] = {
        "metadata": {"component": main},
        "components": [*parts.values(), _interpreter(), *_debian_parts(root)],
        "dependencies": _dependencies(needed, {ROOT: main, **parts}),
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {**FORMAT, "serialNumber": f"urn:uuid:{serial}", **content}


def _python_part(name: str, one: Distribution) -> dict[str, Any]:
    url = f"pkg:pypi/{name}@{quote(one.version, safe='')}"
    licences = _licences(one)
    told: dict[str, Any] = {"licenses": licences} if licences else {}
    return _library(name, one.version, url) | told


def _library(name: str, version: str, url: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def _licences(one: Distribution) -> list[dict[str, Any]]:
    """As the metadata tells: an SPDX expression, else a name, else the classifiers."""
    known = one.metadata
    if "License-Expression" in known:
        return [{"expression": known["License-Expression"]}]
    told = known["License"].strip() if "License" in known else ""
    if told and "\n" not in told and len(told) <= LONGEST_NAME:
        return [{"license": {"name": told}}]
    lines = known.get_all("Classifier") or []
    names = {line.rpartition(" :: ")[2] for line in lines if line.startswith(CLASSIFIER)}
    return [{"license": {"name": name}} for name in sorted(names)]


def _interpreter() -> dict[str, Any]:
    version = platform.python_version()
    return _library("python", version, f"pkg:generic/python@{version}") | {"type": "platform"}


def _debian_parts(root: Path) -> Iterator[dict[str, Any]]:
    """Packages that dpkg has installed; none on a base without dpkg."""
    status, release = root / "var/lib/dpkg/status", root / "etc/os-release"
    if not status.is_file() or not release.is_file():
        return
    told = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line)
    system, number = (told.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))
    for paragraph in status.read_text(errors="replace").split("\n\n"):
        fields = _fields(paragraph)
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            url = f"pkg:deb/{system}/{quote(name)}@{quote(version, safe='')}"
            url += f"?arch={fields['Architecture']}&distro={system}-{number}"
            yield _library(name, version, url)


def _fields(paragraph: str) -> dict[str, str]:
    pairs = (line.partition(": ") for line in paragraph.splitlines() if line[:1].isalpha())
    return {name: value for name, _, value in pairs}


def _dependencies(
    needed: Mapping[str, set[str]], parts: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {
            "ref": parts[name]["bom-ref"],
            "dependsOn": sorted(parts[other]["bom-ref"] for other in others),
        }
        for name, others in sorted(needed.items())
    ]


if __name__ == "__main__":
    folders = [Path(folder) for folder in sys.argv[2:]]
    json.dump(bill(sys.argv[1].split(","), folders, Path("/")), sys.stdout, indent=1)
    sys.stdout.write("\n")

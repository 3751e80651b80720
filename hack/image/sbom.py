"""The image's bill of materials: CycloneDX 1.6 as JSON, from what is installed and nothing else.

It lists the Python distributions with their licences and dependencies, the interpreter, and the
base's Debian packages. Libraries inside wheels (OpenBLAS in numpy's) belong to their wheel. The
same content gives the same file: there is no time in it, and the serial number is made from it.

It is written by hand because no generator does as well (the CPU image has 180 components):
cyclonedx-bom 7.5 lists Python distributions only, so the 123 Debian packages and the interpreter
are missing, and the main component has no version. Merged with the document of debsbom 0.10 it has
the Debian packages, but then the main component is an operating system, and the build installs 35
more packages. Syft lists Debian and Python, but not the interpreter, is different after each build,
and its last Python package is of January 2025.

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
    parts = {name: _python_part(name, package) for name, package in sorted(known.items())}
    main = parts.pop(ROOT) | {"type": "application"}
    content: dict[str, Any] = {
        "metadata": {"component": main},
        "components": [*parts.values(), _interpreter(), *_debian_parts(root)],
        "dependencies": _dependencies(needed, {ROOT: main, **parts}),
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {**FORMAT, "serialNumber": f"urn:uuid:{serial}", **content}


def _python_part(name: str, distribution: Distribution) -> dict[str, Any]:
    url = f"pkg:pypi/{name}@{quote(distribution.version, safe='')}"
    part = _library(name, distribution.version, url)
    if licences := _licences(distribution):
        part["licenses"] = licences
    return part


def _library(name: str, version: str, url: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def _licences(distribution: Distribution) -> list[dict[str, Any]]:
    """What the metadata declares: an SPDX expression, else a name, else the classifiers."""
    metadata = distribution.metadata
    if "License-Expression" in metadata:
        return [{"expression": metadata["License-Expression"]}]
    name = metadata["License"].strip() if "License" in metadata else ""
    if name and "\n" not in name and len(name) <= LONGEST_NAME:
        return [{"license": {"name": name}}]
    lines = metadata.get_all("Classifier") or []
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
    lines = release.read_text().splitlines()
    system = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    distro = f"{system.get('ID', '')}-{system.get('VERSION_ID', '')}"
    for paragraph in status.read_text(errors="replace").split("\n\n"):
        fields = _fields(paragraph)
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            url = f"pkg:deb/{system.get('ID', '')}/{quote(name)}@{quote(version, safe='')}"
            url += f"?arch={fields['Architecture']}&distro={distro}{_upstream(fields)}"
            yield _library(name, version, url)


def _upstream(fields: Mapping[str, str]) -> str:
    """The source package as a qualifier: by it Debian's security advisories name what they mean."""
    name, _, version = fields.get("Source", "").partition(" ")  # `openssl`, or `bash (5.2.15-2)`
    source = f"{name}@{version.strip('()')}" if version else name
    return f"&upstream={quote(source, safe='')}" if source else ""


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

"""What is taken out of the image's environment, and the list of what is left."""

import json
from pathlib import Path

import pytest

from hack.image.installed import NOT_IMPORTED, SERVED_FILES, installed, needs
from hack.image.prune import unneeded, unserved
from hack.image.sbom import bill
from predictor.server.http import swagger

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10
Description: GNU C Library
 Status: not a field

Package: bash
Status: install ok installed
Architecture: amd64
Source: bash (5.2.15-2)
Version: 5.2.15-2+b13

Package: dash
Status: install ok installed
Architecture: amd64
Version: 0.5.12-2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""


def install(folder: Path, name: str, *lines: str, version: str = "1.0") -> None:
    """Metadata of a distribution; `lines`: more of its header."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    header = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines]
    (place / "METADATA").write_text("\n".join(header) + "\n")


def requires(*names: str) -> list[str]:
    return [f"Requires-Dist: {name}" for name in names]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The package with KServe, whose pandas nobody else needs, and a tool that nobody needs."""
    folder = tmp_path / "site"
    install(folder, "predictor", *requires("kserve>=0.21", 'redis[hiredis]; extra == "redis"'))
    install(folder, "kserve", *requires("pandas<3", "Typing_Extensions", 'x; python_version<"3"'))
    install(folder, "pandas", *requires("pytz", "typing-extensions"))
    install(folder, "pytz")
    install(folder, "x")
    install(folder, "typing_extensions")
    return folder


def test_what_is_declared_and_never_imported_goes_with_all_that_only_it_needs(site: Path) -> None:
    assert "pandas" in NOT_IMPORTED["kserve"]
    assert unneeded(["cpu"], site) == ["pandas", "pytz", "x"]


def test_what_something_else_needs_stays(site: Path) -> None:
    install(site, "redis", *requires('hiredis; extra == "hiredis"'))
    install(site, "hiredis", *requires("Pandas"))
    assert unneeded(["cpu", "redis"], site) == ["x"]
    assert unneeded(["cpu"], site) == ["hiredis", "pandas", "pytz", "redis", "x"]


def test_what_needs_each_other_is_walked_once(tmp_path: Path) -> None:
    install(tmp_path, "predictor", *requires("a"))
    install(tmp_path, "a", *requires("b"))
    install(tmp_path, "b", *requires("a", "not-installed"))
    graph = needs(installed([tmp_path]), [])
    assert graph == {"predictor": {"a"}, "a": {"b"}, "b": {"a"}}


def test_without_the_package_nothing_can_be_told(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="predictor is not installed"):
        unneeded(["cpu"], tmp_path)


def test_of_a_folder_of_served_files_the_others_go(tmp_path: Path) -> None:
    folder = tmp_path / "fastapi_offline/static"
    folder.mkdir(parents=True)
    for name in (*swagger.ASSETS, "redoc.standalone.js"):
        (folder / name).touch()
    assert unserved(tmp_path) == [folder / "redoc.standalone.js"]


def test_a_served_file_that_is_missing_ends_the_build(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"static has no swagger-ui-bundle\.js, swagger-ui\.css"):
        unserved(tmp_path)


def test_the_files_that_stay_are_those_that_the_server_serves() -> None:
    assert set(SERVED_FILES["fastapi_offline/static"]) == set(swagger.ASSETS)


def test_the_bill_names_every_distribution_and_who_needs_whom(site: Path, tmp_path: Path) -> None:
    content = bill(["cpu"], [site], tmp_path)
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    assert content["metadata"]["component"]["purl"] == "pkg:pypi/predictor@1.0"
    names = [part["name"] for part in content["components"]]
    assert names == ["kserve", "pandas", "pytz", "typing-extensions", "x", "python"]
    graph = {dependency["ref"]: dependency["dependsOn"] for dependency in content["dependencies"]}
    assert graph["pkg:pypi/predictor@1.0"] == ["pkg:pypi/kserve@1.0"]
    assert graph["pkg:pypi/kserve@1.0"] == ["pkg:pypi/typing-extensions@1.0"]


def test_the_same_content_is_the_same_bill(site: Path, tmp_path: Path) -> None:
    first = bill(["cpu"], [site], tmp_path)
    assert json.dumps(first) == json.dumps(bill(["cpu"], [site], tmp_path))
    install(site, "more")
    assert bill(["cpu"], [site], tmp_path)["serialNumber"] != first["serialNumber"]


@pytest.mark.parametrize(
    ("lines", "licences"),
    [
        (["License-Expression: MIT OR Apache-2.0"], [{"expression": "MIT OR Apache-2.0"}]),
        (["License: BSD"], [{"license": {"name": "BSD"}}]),
        (
            ["License: " + "word " * 30, "Classifier: License :: OSI Approved :: MIT License"],
            [{"license": {"name": "MIT License"}}],
        ),
        (["Classifier: Typing :: Typed"], None),
    ],
    ids=["expression", "name", "text and classifier", "none"],
)
def test_licences_as_the_metadata_tells_them(
    site: Path, tmp_path: Path, lines: list[str], licences: object
) -> None:
    install(site, "thing", *lines)
    (part,) = (
        component
        for component in bill([], [site], tmp_path)["components"]
        if component["name"] == "thing"
    )
    assert part.get("licenses") == licences


def test_the_bill_lists_the_base_s_packages_and_their_sources(site: Path, tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Debian"\n\nVERSION_ID="12"\nID=debian\n')
    urls = [part["purl"] for part in bill([], [site], tmp_path)["components"]]
    debian = [url.removeprefix("pkg:deb/debian/") for url in urls if url.startswith("pkg:deb/")]
    assert debian == [
        "libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc",
        "bash@5.2.15-2%2Bb13?arch=amd64&distro=debian-12&upstream=bash%405.2.15-2",
        "dash@0.5.12-2?arch=amd64&distro=debian-12",
    ]

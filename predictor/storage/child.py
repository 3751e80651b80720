"""The downloading process, `python -m predictor.storage.child`: order on stdin, report on stdout.

Whatever a client may do wrong stays here: memory, threads, hanging, writing to other folders.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec

from predictor.bundle.manifest import is_bundle, read_bundle
from predictor.bundle.version_folder import is_version_folder
from predictor.errors import BadModel
from predictor.storage.classify import classify
from predictor.storage.confine import die_with_parent, forbid_unsafe_names, forbid_writes_outside
from predictor.storage.messages import FetchOrder, FetchReport
from predictor.storage.tree import CONTENT, NO_MANIFEST, Version, content_of, tidy
from predictor.storage.uri import as_fetched, is_archive, is_azure_blob, masked, number_of

LOCAL = "file://"
# Versions that a report names as refused; a longer list would not be read.
MAX_REFUSED = 20


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=FetchOrder)
    report = os.dup(1)
    os.dup2(2, 1)  # what a client prints is not part of the report
    die_with_parent(order.parent)
    os.write(report, msgspec.json.encode(run(order)))
    os._exit(0)  # threads of clients are not waited for


def run(order: FetchOrder) -> FetchReport:
    try:
        tree = Path(order.tree)
        forbid_writes_outside(order.tree)
        forbid_unsafe_names()
        fetch(order.uri, tree)
        refused = [verify(version, order) for version in tidy(tree, number_of(order.uri))]
        return FetchReport(None, tuple(sentence for sentence in refused if sentence)[:MAX_REFUSED])
    except Exception as error:  # of any client: the server turns it into a sentence
        return FetchReport(classify(error))


def fetch(uri: str, tree: Path) -> None:
    """Download to `tree`. Raises whatever the client raises."""
    local = Path(uri.removeprefix(LOCAL))
    if uri.startswith(LOCAL) and local.is_dir():
        # kserve-storage would make links to files that may change.
        ignore = shutil.ignore_patterns(".*")
        copy = shutil.copyfile
        shutil.copytree(local, tree, ignore=ignore, copy_function=copy, dirs_exist_ok=True)
        return
    from kserve_storage import Storage

    if is_azure_blob(uri) and not is_archive(uri):
        end_prefix_with_slash(Storage)
    Storage.download(as_fetched(uri), str(tree))


def end_prefix_with_slash(storage: Any) -> None:
    """Have the prefix of Azure blobs end with a slash, as `as_fetched` does for S3.

    kserve-storage strips it, and would also fetch folders whose names only begin alike.
    """
    parse = storage._parse_azure_uri

    def with_slash(uri: str) -> tuple[str, str, str, str]:
        account, url, container, prefix = parse(uri)
        return account, url, container, f"{prefix}/" if prefix else ""

    storage._parse_azure_uri = staticmethod(with_slash)


def verify(version: Version, order: FetchOrder) -> str | None:
    """Write a version's digest beside its files, or return why it must not be published."""
    try:
        if not is_version_folder(version.folder):
            raise BadModel(f"{version.folder}: {NO_MANIFEST}")
        if is_bundle(version.folder):
            read_bundle(version.folder)
    except BadModel as error:
        return str(error).replace(order.tree, masked(order.uri).rstrip("/"))
    (version.folder / CONTENT).write_text(content_of(version.folder), encoding="ascii")
    return None


if __name__ == "__main__":
    main()

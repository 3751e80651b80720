"""A mirror of a store: versions appear complete, by one rename, and never change afterwards.

The layout is a repository's: `mirror/3` for one model, `mirror/minilm/3` for many. A model without
numbers gets them, 1 first and the next one when its content changes. The engine maps the files of
a version that it serves, so no file is ever written in place; a version that is removed is moved
away and then unlinked, which leaves the mapped pages as they are.
"""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from predictor.storage.download import download
from predictor.storage.failure import Failure, FailureKind, FetchFailed
from predictor.storage.messages import FetchReport
from predictor.storage.plan import Offer, VersionKey, plan
from predictor.storage.staging import mirror_lock, staging_folder
from predictor.storage.tree import content_of, in_mirror, known_content, size_of, survey
from predictor.storage.uri import check_uri, masked, number_of
from predictor.storage.words import fetch_failed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refreshed:
    """What a fetch did to the mirror; versions as in a path: `minilm/3`, or `3`."""

    added: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    # A sentence for each version that is kept though the store has another content for it.
    conflicts: tuple[str, ...] = ()
    # A sentence for each version that was not published because it is not complete.
    refused: tuple[str, ...] = ()
    # Size of the download.
    bytes: int = 0
    # Duration of the fetch.
    seconds: float = 0.0


def refresh(
    uri: str, mirror: Path, timeout_s: float, *, stop: threading.Event | None = None
) -> Refreshed:
    """Fetch all that is at `uri` and bring the mirror up to date. Blocks; call it in a thread.

    Args:
        mirror: a folder for this URI alone (`mirror_of`); made if it is missing.
        timeout_s: seconds for all of it.
        stop: ends the fetch early when set.

    Raises:
        BadSetting: this URI cannot be fetched here.
        FetchFailed: nothing could be fetched; the mirror is as it was.
    """
    check_uri(uri)
    started = time.monotonic()
    deadline = started + timeout_s
    stop = stop or threading.Event()
    logger.info("fetching %s", masked(uri))
    try:
        mirror.mkdir(parents=True, exist_ok=True)
        with mirror_lock(uri, mirror, deadline, stop), staging_folder(mirror) as staging:
            report = download(uri, staging, deadline, timeout_s, stop)
            size = size_of(staging / "tree")
            if report.failure:
                raise fetch_failed(uri, report.failure, mirror)
            changes = _publish(uri, mirror, staging, report)
    except OSError as error:
        detail = f"{mirror}: cannot be written ({error.strerror or type(error).__name__})"
        failure = Failure(FailureKind.FAILED, detail, "give another --cache-dir")
        raise fetch_failed(uri, failure, mirror) from error
    seconds = time.monotonic() - started
    _log(uri, changes, size, seconds)
    return Refreshed(**changes, bytes=size, seconds=seconds)


def _log(uri: str, changes: dict[str, tuple[str, ...]], size: int, seconds: float) -> None:
    listed = [
        f"{what} {', '.join(changes[what])}" for what in ("added", "removed") if changes[what]
    ]
    logger.info(
        "fetched %s: %.1f MB in %.1f s; %s",
        masked(uri),
        size / 1e6,
        seconds,
        "; ".join(listed) or "nothing new",
    )
    for sentence in (*changes["conflicts"], *changes["refused"]):
        logger.warning("not published: %s", sentence)


def _publish(
    uri: str, mirror: Path, staging: Path, report: FetchReport
) -> dict[str, tuple[str, ...]]:
    """Rename new versions into the mirror, and those that the store has no more out of it.

    Raises:
        FetchFailed: no version of the download is complete, and the mirror has none.
    """
    offered = {
        Offer(version.model, version.number, known_content(version.folder)): version.folder
        for version in survey(staging / "tree", number_of(uri))
    }
    mirrored = in_mirror(mirror)
    contents = {
        key: known_content(folder) or content_of(folder) for key, folder in mirrored.items()
    }
    decided = plan(list(offered), contents)
    if not contents and not decided.publish:
        raise FetchFailed(report.refused[0], FailureKind.FAILED)
    for offer, number in decided.publish:
        target = mirror / offer.model / str(number)
        target.parent.mkdir(exist_ok=True)
        offered[offer].rename(target)
    for index, key in enumerate(decided.remove):
        mirrored[key].rename(staging / f"removed-{index}")
        _drop_if_empty(mirrored[key].parent, mirror)
    return {
        "added": tuple(_name((offer.model, number)) for offer, number in decided.publish),
        "unchanged": tuple(map(_name, decided.unchanged)),
        "removed": tuple(map(_name, decided.remove)),
        "conflicts": tuple(_conflict(uri, key) for key in decided.conflicts),
        "refused": report.refused,
    }


def _drop_if_empty(folder: Path, mirror: Path) -> None:
    if folder != mirror and not any(folder.iterdir()):
        folder.rmdir()


def _conflict(uri: str, key: VersionKey) -> str:
    return (
        f"{masked(uri)}: version {_name(key)} is not the one that was fetched before, which is "
        "kept, as versions never change; publish it under a new number"
    )


def _name(key: VersionKey) -> str:
    return "/".join(filter(None, (key[0], str(key[1]))))

"""A mirror of what is remote: versions appear whole, by one rename, and never change afterwards.

The layout is a repository's own: `mirror/3` for one model, `mirror/minilm/3` for many. A model
that has no numbers gets some, 1 first and the next one when its content changes. The engine maps
the files of a version that it serves, so no file is ever written in place; a version that goes is
moved away and then unlinked, which leaves the mapped pages as they are.
"""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from predictor.storage.aside import aside_of, locked
from predictor.storage.download import download
from predictor.storage.failure import Failure, FetchFailed, Reason
from predictor.storage.messages import Report
from predictor.storage.plan import Key, Offer, plan
from predictor.storage.tree import content_of, in_mirror, known_content, size_of, survey
from predictor.storage.uri import check_uri, masked, number_of
from predictor.storage.words import failed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refreshed:
    """What a fetch did to the mirror; versions as in a path: `minilm/3`, or `3`.

    conflicts, refused: one sentence each, about a version that the remote has and the mirror has
    otherwise (kept as it was), or that is not whole (not published).
    """

    added: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    bytes: int = 0
    seconds: float = 0.0


def refresh(
    uri: str, mirror: Path, timeout_s: float, *, stop: threading.Event | None = None
) -> Refreshed:
    """Fetch all that is at `uri` and bring the mirror up to date. Blocks; call it in a thread.

    Args:
        mirror: a folder for this URI alone (`mirror_of`); made if it is missing.
        timeout_s: seconds for all of it.
        stop: ends it early when set.

    Raises:
        BadSetting: this URI cannot be fetched here.
        FetchFailed: nothing could be fetched; the mirror is as it was.
    """
    check_uri(uri)
    started = time.monotonic()
    stop = stop or threading.Event()
    logger.info("fetching %s", masked(uri))
    try:
        mirror.mkdir(parents=True, exist_ok=True)
        with locked(uri, mirror, started + timeout_s, stop), aside_of(mirror) as aside:
            report = download(uri, aside, started + timeout_s, stop)
            came = size_of(aside / "tree")
            if report.failure:
                raise _failed(uri, report.failure, timeout_s, came, mirror)
            done = _publish(uri, mirror, aside, report)
    except OSError as error:
        why = f"{mirror}: cannot be written ({error.strerror or type(error).__name__})"
        message = f"{masked(uri)}: {why}; give another --cache-dir"
        raise FetchFailed(message, Reason.DENIED) from error
    seconds = time.monotonic() - started
    _log(uri, done, came, seconds)
    return Refreshed(**done, bytes=came, seconds=seconds)


def _failed(uri: str, failure: Failure, timeout_s: float, came: int, mirror: Path) -> FetchFailed:
    if failure.words:
        level = logging.WARNING if failure.reason is Reason.OTHER else logging.DEBUG
        logger.log(level, "%s: the client's words: %s", masked(uri), failure.words)
    return failed(uri, failure, timeout_s, came, str(mirror))


def _log(uri: str, done: dict[str, tuple[str, ...]], came: int, seconds: float) -> None:
    changes = [f"{what} {', '.join(done[what])}" for what in ("added", "removed") if done[what]]
    logger.info(
        "fetched %s: %.1f MB in %.1f s; %s",
        *(masked(uri), came / 1e6, seconds, "; ".join(changes) or "nothing new"),
    )
    for sentence in (*done["conflicts"], *done["refused"]):
        logger.warning("not published: %s", sentence)


def _publish(uri: str, mirror: Path, aside: Path, report: Report) -> dict[str, tuple[str, ...]]:
    """Rename what is new into the mirror and what is gone out of it.

    Raises:
        FetchFailed: no version of the download is whole, and the mirror has none.
    """
    offered = {
        Offer(version.model, version.number, known_content(version.folder)): version.folder
        for version in survey(aside / "tree", number_of(uri))
    }
    there = in_mirror(mirror)
    contents = {key: known_content(folder) or content_of(folder) for key, folder in there.items()}
    todo = plan(list(offered), contents)
    if not contents and not todo.publish:
        raise FetchFailed(report.refused[0], Reason.NO_MODEL)
    for offer, number in todo.publish:
        target = mirror / offer.model / str(number)
        target.parent.mkdir(exist_ok=True)
        offered[offer].rename(target)
    for index, key in enumerate(todo.gone):
        there[key].rename(aside / f"gone-{index}")
        _drop_if_empty(there[key].parent, mirror)
    return {
        "added": tuple(_name((offer.model, number)) for offer, number in todo.publish),
        "unchanged": tuple(map(_name, todo.unchanged)),
        "removed": tuple(map(_name, todo.gone)),
        "conflicts": tuple(_conflict(uri, key) for key in todo.conflicts),
        "refused": report.refused,
    }


def _drop_if_empty(folder: Path, mirror: Path) -> None:
    if folder != mirror and not any(folder.iterdir()):
        folder.rmdir()


def _conflict(uri: str, key: Key) -> str:
    return (
        f"{masked(uri)}: version {_name(key)} is not the one that was fetched before, which is "
        "kept, as versions never change; publish it under a new number"
    )


def _name(key: Key) -> str:
    return "/".join(filter(None, (key[0], str(key[1]))))

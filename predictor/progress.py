"""Progress of long work: a bar on a terminal, otherwise log lines."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

logger = logging.getLogger(__name__)

# Without a terminal: seconds between two log lines of one step.
LINE_EVERY_S = 10.0
Advance = Callable[[], object]


class Progress:
    """Shows one step after the other on stderr; `quiet` shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar = sys.stderr.isatty()

    @contextmanager
    def step(self, title: str, total: int = 1) -> Iterator[Advance]:
        """A step of `total` parts; call the yielded function once per part."""
        if self._quiet:
            yield lambda: None
        elif self._bar:
            with tqdm(total=total, desc=title, leave=True, file=sys.stderr) as bar:
                yield bar.update
                bar.update(total - bar.n)
        else:
            yield from self._lines(title, total)

    @staticmethod
    def _lines(title: str, total: int) -> Iterator[Advance]:
        started = time.monotonic()
        shown = started
        done = 0

        def advance() -> None:
            nonlocal done, shown
            done += 1
            if time.monotonic() - shown >= LINE_EVERY_S:
                shown = time.monotonic()
                logger.info("%s: %d of %d", title, done, total)

        yield advance
        logger.info("%s: done in %.1f s", title, time.monotonic() - started)

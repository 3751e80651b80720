"""Scans the repository: fetches it if it is in a store, lists it, and logs when that fails."""

import logging
import threading
from pathlib import Path

from predictor import storage
from predictor.errors import BadModel, PredictorError
from predictor.metrics import REPOSITORY_POLLS
from predictor.repository.layout import Layout, scan
from predictor.settings import Settings, model_path

logger = logging.getLogger(__name__)


class RepositoryScanner:
    """Blocks; to be used in threads, by one of them at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # What the last scan that succeeded saw.
        self.layout: Layout | None = None
        # Why the last scan failed; empty: it did not.
        self._problem = ""
        self._stopping = threading.Event()

    @property
    def root(self) -> Path:
        """The directory that is scanned."""
        uri = self._settings.repository.model_uri
        if not uri:
            return Path(self._settings.model.model_dir)
        return storage.mirror_of(Path(self._settings.model.cache_dir), uri)

    def scan_first(self) -> Layout:
        """The scan before anything is served.

        Raises:
            BadSetting: the directory does not exist, or the URI cannot be fetched here.
            BadModel: it cannot be fetched or read.
        """
        try:
            self.layout = self._scan()
        except OSError as error:
            why = error.strerror or error
            raise BadModel(f"{self.root}: cannot be read: {why}") from error
        return self.layout

    def rescan(self) -> bool:
        """Scan again; False: it failed and `layout` is as it was. Each problem is logged once."""
        try:
            self.layout = self._scan()
        except (OSError, PredictorError) as error:
            REPOSITORY_POLLS.labels("error").inc()
            problem = str((error.strerror or error) if isinstance(error, OSError) else error)
            if problem != self._problem:
                logger.error("cannot scan the repository: %s", problem)
            self._problem = problem
            return False
        if self._problem:
            logger.info("the repository can be scanned again")
        self._problem = ""
        REPOSITORY_POLLS.labels("ok").inc()
        return True

    def stop(self) -> None:
        """End a fetch that is under way; from any thread."""
        self._stopping.set()

    def _scan(self) -> Layout:
        uri = self._settings.repository.model_uri
        name = self._settings.model.model_name
        if not uri:
            return scan(model_path(self._settings.model), name)
        timeout_s = self._settings.repository.download_timeout_s
        fetched = storage.refresh(uri, self.root, timeout_s, stop=self._stopping)
        for problem in (*fetched.conflicts, *fetched.refused):
            logger.error("%s", problem)
        return scan(self.root, name)

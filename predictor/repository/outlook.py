"""Looks at the repository: fetches it if it is elsewhere, lists it, and says so when it cannot."""

import logging
import threading
from pathlib import Path

from predictor import storage
from predictor.errors import BadModel, PredictorError
from predictor.metrics import REPOSITORY_POLLS
from predictor.repository.layout import Layout, scan
from predictor.settings import Settings, model_path

logger = logging.getLogger(__name__)


class Outlook:
    """Blocks; to be used in threads, one at a time. layout: what the last good look saw."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.layout: Layout | None = None
        self._blind = ""  # why the last look failed
        self._stopping = threading.Event()

    @property
    def root(self) -> Path:
        """The directory that is looked at."""
        uri = self._settings.repository.model_uri
        if not uri:
            return Path(self._settings.model.model_dir)
        return storage.mirror_of(Path(self._settings.model.cache_dir), uri)

    def first(self) -> Layout:
        """The look before anything is served.

        Raises:
            BadSetting: the directory does not exist, or the URI is none.
            BadModel: it cannot be fetched or read.
        """
        try:
            self.layout = self._scan()
        except OSError as error:
            why = error.strerror or error
            raise BadModel(f"{self.root}: cannot be read: {why}") from error
        return self.layout

    def look(self) -> bool:
        """Look again; False, and the layout as it was, if that cannot be done. Logged once."""
        try:
            self.layout = self._scan()
        except (OSError, PredictorError) as error:
            REPOSITORY_POLLS.labels("error").inc()
            why = str((error.strerror or error) if isinstance(error, OSError) else error)
            if why != self._blind:
                logger.error("cannot look at the repository: %s", why)
            self._blind = why
            return False
        if self._blind:
            logger.info("the repository can be looked at again")
        self._blind = ""
        REPOSITORY_POLLS.labels("ok").inc()
        return True

    def stop(self) -> None:
        """End a fetch that is under way; from any thread."""
        self._stopping.set()

    def _scan(self) -> Layout:
        uri, name = self._settings.repository.model_uri, self._settings.model.model_name
        if not uri:
            return scan(model_path(self._settings.model), name)
        seconds = self._settings.repository.download_timeout_s
        fetched = storage.refresh(uri, self.root, seconds, stop=self._stopping)
        for problem in (*fetched.conflicts, *fetched.refused):
            logger.error("%s", problem)
        return scan(self.root, name)

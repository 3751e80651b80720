"""Waits for a model directory that appears after the server has been started.

A sidecar that has the model in its image (KServe's modelcar) makes the directory visible when it
has started itself, which may be seconds later.
"""

import logging
import time
from pathlib import Path
from time import sleep

from predictor.settings import Settings

logger = logging.getLogger(__name__)

# Time between two looks at the directory, seconds.
LOOK_S = 0.1


def await_model_dir(settings: Settings) -> None:
    """Return when the directory exists, or its time is over: to load it then says what is wrong."""
    path = Path(settings.model.model_dir)
    wait_s = settings.repository.model_dir_wait_s
    if settings.repository.model_uri or not wait_s or path.is_dir():
        return
    logger.warning(
        "--model-dir %s: no such directory yet; waiting up to %g s for it (--model-dir-wait-s)",
        path,
        wait_s,
    )
    started = time.monotonic()
    while time.monotonic() - started < wait_s:
        sleep(LOOK_S)
        if path.is_dir():
            logger.info("%s appeared after %.1f s", path, time.monotonic() - started)
            return

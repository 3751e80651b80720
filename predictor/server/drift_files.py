"""Where what is known of a version's traffic lies: beside the version, or in the drift folder.

Named by what was run (revision and variant), so that a version that comes back under another
number, or on another pod, finds its own.
"""

import logging
import os
import re
import secrets
from pathlib import Path

from predictor.drift import BadSketch, Reference, Subject, reference_from_bytes

logger = logging.getLogger(__name__)

# In a version's folder, put there before it was published.
BESIDE = "drift.reference.json"
NO_NAME = re.compile(r"[^A-Za-z0-9._-]")


class DriftFiles:
    """References and latest windows; its methods block and belong into a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, subject: Subject, what: str) -> Path:
        """what: `reference` or `window`."""
        name = NO_NAME.sub("_", f"{subject.revision}-{subject.variant}")
        return self._folder / f"{name}.{what}.json"

    def find(self, subject: Subject, version: Path) -> Reference | None:
        """The reference that lies beside the version, else the one that was learnt.

        One that is damaged or of another model is named in the log and as good as none.
        """
        for path in (version / BESIDE, self.path(subject, "reference")):
            try:
                reference = reference_from_bytes(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, BadSketch) as error:
                logger.error("drift reference %s: %s", path, error)
                continue
            if reference.sketch.subject == subject:
                return reference
            logger.error(
                "drift reference %s is of %s, not of %s", path, reference.sketch.subject, subject
            )
        return None

    def write(self, subject: Subject, what: str, content: bytes) -> None:
        """Replace a file as a whole, readable by its owner alone. Raises OSError."""
        path = self.path(subject, what)
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

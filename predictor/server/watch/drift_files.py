"""The files of references and windows: in the folder of the version, or in the drift folder.

They are named by revision and variant, so that a version that returns under another number, or on
another pod, finds its own.
"""

import logging
import os
import re
import secrets
from pathlib import Path

from predictor.drift import BadSketch, DriftReference, ModelIdentity, reference_from_bytes

logger = logging.getLogger(__name__)

# In a version's folder, added before the version is published.
PUBLISHED_REFERENCE = "drift.reference.json"
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")


class DriftFiles:
    """References and latest windows; all methods block, call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, identity: ModelIdentity, kind: str) -> Path:
        """kind: `reference` or `window`."""
        name = NOT_IN_NAMES.sub("_", f"{identity.revision}-{identity.variant}")
        return self._folder / f"{name}.{kind}.json"

    def find(self, identity: ModelIdentity, version: Path) -> DriftReference | None:
        """The reference in the version's folder, else the one that was learnt.

        A reference that is damaged or of another model is logged and ignored.
        """
        for path in (version / PUBLISHED_REFERENCE, self.path(identity, "reference")):
            try:
                reference = reference_from_bytes(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, BadSketch) as error:
                logger.error("drift reference %s: %s", path, error)
                continue
            if reference.sketch.identity == identity:
                return reference
            logger.error(
                "drift reference %s is of %s, not of %s", path, reference.sketch.identity, identity
            )
        return None

    def write(self, identity: ModelIdentity, kind: str, content: bytes) -> None:
        """Replace a file as a whole, readable by its owner alone. Raises OSError."""
        path = self.path(identity, kind)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

"""The versions that an operator made the defaults, in a file that outlives the process.

Whoever goes back to an older version through the repository API means it until they say otherwise,
not until the container starts again.
"""

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import msgspec

logger = logging.getLogger(__name__)

PREFIX = "requested-"


class RequestedVersions:
    """A file in the cache directory, one for each directory that is served."""

    def __init__(self, cache_dir: Path, root: str) -> None:
        """root: the directory or URI that is served; others may share the cache directory."""
        name = hashlib.sha256(root.encode()).hexdigest()[:16]
        self._path = cache_dir / f"{PREFIX}{name}.json"
        self._numbers = self._read()

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            logger.warning("%s is not read: %s", self._path, error)
            return {}

    def of(self, model: str) -> int | None:
        """The version that was made the default of a model; None: the policy selects it."""
        return self._numbers.get(model)

    def keep(self, model: str, number: int | None) -> None:
        """Write what is the case from now on. Blocks; an error is logged."""
        if self._numbers.get(model) == number:
            return
        self._numbers = {name: other for name, other in self._numbers.items() if name != model}
        if number is not None:
            self._numbers[model] = number
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f".{PREFIX}", dir=self._path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(self._numbers))
            os.replace(name, self._path)
        except OSError as error:
            logger.warning(
                "%s cannot be written (%s): the next start does not know that version %s of %s was "
                "requested",
                self._path,
                error.strerror or error,
                number,
                model,
            )

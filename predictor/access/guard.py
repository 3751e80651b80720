"""Who asks, and whether they may: one look-up and a little arithmetic a request.

What a client sends is hashed, and the digest is looked up. A digest tells nothing about keys that
are nearly right, so the time that the look-up takes helps nobody to guess. Unknown keys leave no
trace: the memory used depends on the file alone.
"""

import hmac
import logging
from collections.abc import Mapping
from pathlib import Path

from predictor.access.caller import Caller
from predictor.access.credentials import digest_of
from predictor.access.keys import ApiKey, parse_keys
from predictor.access.watched import WatchedFile
from predictor.errors import Unauthorized
from predictor.settings import AccessSettings

logger = logging.getLogger(__name__)

HOW = "send an API key: `Authorization: Bearer KEY` or `x-api-key: KEY`"


class Guard:
    """Knows the keys. One event loop only: there are no locks."""

    def __init__(self, file: WatchedFile[Mapping[bytes, ApiKey]] | None) -> None:
        """file: None lets everybody in."""
        self._file = file
        # Those keys of the file that were used since the start; never more than the file has.
        self._callers: dict[bytes, Caller] = {}

    @classmethod
    def open(cls, settings: AccessSettings) -> "Guard":
        """Read the file of keys, if one is set.

        Raises:
            BadSetting: it cannot be read, or something in it is wrong.
        """
        if not settings.api_keys_file:
            return cls(None)
        guard = cls(WatchedFile("--api-keys-file", Path(settings.api_keys_file), parse_keys))
        guard._adopt()
        return guard

    def refresh(self, now: float) -> None:
        """Take over a changed file; `caller` does it, too. At most one look a second."""
        if self._file is not None and self._file.refresh(now):
            self._adopt()

    def _adopt(self) -> None:
        """Keys that were used before keep their buckets, by name: the key behind it may change."""
        keys = self._file.value if self._file is not None else {}
        before = {caller.name: caller for caller in self._callers.values()}
        self._callers = {
            digest: Caller(digest, key, before[key.name])
            for digest, key in keys.items()
            if key.name in before
        }
        logger.info("API keys: %d", len(keys))
        if not keys:
            logger.warning("the file of API keys has no key: nobody may ask")

    def caller(self, credential: str | None, now: float, wall: float) -> Caller | None:
        """Who sent this credential; None: no keys are configured, and everybody may ask.

        Args:
            now: monotonic seconds.
            wall: seconds since 1970, for keys that expire.

        Raises:
            Unauthorized: there is no key, or it is unknown or expired.
        """
        if self._file is None:
            return None
        self.refresh(now)
        if not credential:
            raise Unauthorized(HOW)
        digest = digest_of(credential)
        caller = self._callers.get(digest) or self._first_use(digest)
        if caller is None or not hmac.compare_digest(caller.digest, digest):
            raise Unauthorized(f"this API key is not known here; {HOW}")
        if wall >= caller.expires_s:
            raise Unauthorized(f"the API key {caller.name!r} has expired; {HOW}")
        return caller

    def _first_use(self, digest: bytes) -> Caller | None:
        key = self._file.value.get(digest) if self._file is not None else None
        if key is None:
            return None
        caller = self._callers[digest] = Caller(digest, key)
        return caller

"""Authentication: finds the principal of a request's credential by one look-up.

The credential is hashed, and the digest is looked up. The digest of a nearly right key is unrelated
to that of the key, so the time of the look-up does not help to guess a key. Unknown keys are not
stored, so memory use depends only on the file.
"""

import hmac
import logging
from collections.abc import Mapping
from pathlib import Path

from predictor.access.credentials import digest_of
from predictor.access.keys import ApiKey, parse_keys
from predictor.access.principal import Principal
from predictor.access.watched import WatchedFile
from predictor.errors import Unauthorized
from predictor.settings import AccessSettings

logger = logging.getLogger(__name__)

HOW = "send an API key: `Authorization: Bearer KEY` or `x-api-key: KEY`"


class Authenticator:
    """Holds the keys. One event loop only: there are no locks."""

    def __init__(self, file: WatchedFile[Mapping[bytes, ApiKey]] | None) -> None:
        """Without a file, every request is admitted."""
        self._file = file
        # The principals of the keys that were used since the start, by digest.
        self._principals: dict[bytes, Principal] = {}

    @classmethod
    def open(cls, settings: AccessSettings) -> "Authenticator":
        """Read the file of keys, if one is set.

        Raises:
            BadSetting: the file cannot be read, or its content is not valid.
        """
        if not settings.api_keys_file:
            return cls(None)
        authenticator = cls(
            WatchedFile("--api-keys-file", Path(settings.api_keys_file), parse_keys)
        )
        authenticator._adopt()
        return authenticator

    def refresh(self, now: float) -> None:
        """Adopt a changed file; `authenticate` does so too. At most one check a second."""
        if self._file is not None and self._file.refresh(now):
            self._adopt()

    def _adopt(self) -> None:
        """Adopt the keys of the file; a known name keeps its buckets, even with a new key."""
        keys = self._file.value if self._file is not None else {}
        before = {principal.name: principal for principal in self._principals.values()}
        self._principals = {
            digest: Principal(digest, key, before[key.name])
            for digest, key in keys.items()
            if key.name in before
        }
        logger.info("API keys: %d", len(keys))
        if not keys:
            logger.warning("the file of API keys contains no keys: all requests are refused")

    def authenticate(self, credential: str | None, now: float, wall: float) -> Principal | None:
        """Return the principal of a credential; None: no keys are configured, so none is required.

        Args:
            now: monotonic seconds.
            wall: seconds since 1970, for keys that expire.

        Raises:
            Unauthorized: the request has no key, or an unknown or expired one.
        """
        if self._file is None:
            return None
        self.refresh(now)
        if not credential:
            raise Unauthorized(HOW)
        digest = digest_of(credential)
        principal = self._principals.get(digest) or self._first_use(digest)
        if principal is None or not hmac.compare_digest(principal.digest, digest):
            raise Unauthorized(f"unknown API key; {HOW}")
        if wall >= principal.expires_s:
            raise Unauthorized(f"the API key {principal.name!r} has expired; {HOW}")
        return principal

    def _first_use(self, digest: bytes) -> Principal | None:
        key = self._file.value.get(digest) if self._file is not None else None
        if key is None:
            return None
        principal = self._principals[digest] = Principal(digest, key)
        return principal

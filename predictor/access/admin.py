"""The token of the admin routes: one secret, in a file that may be replaced at any time."""

import hmac
from pathlib import Path

from predictor.access.credentials import digest_of
from predictor.access.watched import WatchedFile
from predictor.errors import BadSetting, Unauthorized
from predictor.settings import AccessSettings

# 16 hexadecimal digits are 64 bits; a shorter token is too easy to guess.
MIN_LENGTH = 16
# Printable ASCII without the space, which every client can send in a header.
VISIBLE = range(0x21, 0x7F)

HOW = "the admin routes need the admin token: send `Authorization: Bearer TOKEN`"


class AdminToken:
    """Holds the digest of the token, not the token. One event loop only."""

    def __init__(self, file: WatchedFile[bytes]) -> None:
        self._file = file

    @classmethod
    def open(cls, settings: AccessSettings) -> "AdminToken | None":
        """Read the token; None: no file is set, so there are no admin routes.

        Raises:
            BadSetting: the file cannot be read, or its token is too short or cannot be sent.
        """
        if not settings.admin_token_file:
            return None
        return cls(WatchedFile("--admin-token-file", Path(settings.admin_token_file), parse_token))

    def check(self, credential: str | None, now: float) -> None:
        """Check a credential; `now` is in monotonic seconds.

        Raises:
            Unauthorized: it is not the token. The message does not say what was wrong.
        """
        self._file.refresh(now)
        # Digests have the same length, so the time does not reveal the length of the token.
        if not hmac.compare_digest(digest_of(credential or ""), self._file.value):
            raise Unauthorized(HOW)


def parse_token(content: bytes) -> bytes:
    """Return the digest (32 bytes) of the token in a file; trailing newlines are ignored.

    Raises:
        BadSetting: the token is too short, or has characters that a header cannot carry.
    """
    token = content.rstrip(b"\r\n")
    if len(token) < MIN_LENGTH:
        raise BadSetting(f"the token has {len(token)} characters; at least {MIN_LENGTH} are needed")
    if not all(byte in VISIBLE for byte in token):
        raise BadSetting("the token may have visible ASCII characters only, on one line")
    return digest_of(token.decode("ascii"))

"""A key in use: what it may do, and what is left of its limits."""

import math

from predictor.access.keys import NEVER, ApiKey
from predictor.access.limits import Bucket, duration
from predictor.errors import Forbidden, RateLimited


class Caller:
    """Made by the guard at the first use of a key. One event loop only.

    A request that is refused for its tokens does not get its place among the requests back: it was
    received, decoded and tokenised, and who tries again at once must not get that for nothing.
    """

    __slots__ = ("_key", "_models", "_requests", "_tokens", "digest", "expires_s")

    def __init__(self, digest: bytes, key: ApiKey, before: "Caller | None" = None) -> None:
        """before: who had this name before the file was read again; unchanged limits go on."""
        self.digest = digest
        self._key = key
        self._models = frozenset(key.models)
        self.expires_s = math.inf if key.expires == NEVER else key.expires.timestamp()
        self._requests: Bucket | None = _bucket(
            key.requests_per_minute, before._requests if before else None
        )
        self._tokens: Bucket | None = _bucket(
            key.tokens_per_minute, before._tokens if before else None
        )

    @property
    def name(self) -> str:
        return self._key.name

    def may_use(self, model: str) -> None:
        """Pass if the key is for this model, by the name it is served under.

        Raises:
            Forbidden: it is not.
        """
        if self._models and model not in self._models:
            raise Forbidden(f"the API key {self.name!r} is not for the model {model[:80]!r}")

    def take_request(self, now: float) -> None:
        """Count one request, at monotonic seconds.

        Raises:
            RateLimited: the key has used up its requests.
        """
        if self._requests is not None and (wait_s := self._requests.take(1, now)):
            raise RateLimited(
                f"the API key {self.name!r} has used up its {self._requests.capacity} requests a "
                f"minute; {_come_back(wait_s)}",
                wait_s,
            )

    def take_tokens(self, count: int, now: float) -> None:
        """Count the tokens of one request, all or none of them, at monotonic seconds.

        More than a minute's tokens pass when the minute is unspent; the next ones then wait longer.

        Raises:
            RateLimited: the key has not as many left.
        """
        if self._tokens is not None and (wait_s := self._tokens.take(count, now)):
            raise RateLimited(
                f"the API key {self.name!r} has {self._tokens.remaining(now)} of its "
                f"{self._tokens.capacity} tokens a minute left and this request has {count}; "
                f"{_come_back(wait_s)}",
                wait_s,
            )

    def headers(self, now: float) -> tuple[tuple[str, str], ...]:
        """OpenAI's `x-ratelimit-*`, for the limits that the key has; reset: until all is left."""
        return (*_headers("requests", self._requests, now), *_headers("tokens", self._tokens, now))


def _bucket(per_minute: int, before: Bucket | None) -> Bucket | None:
    if not per_minute:
        return None
    unchanged = before is not None and before.capacity == per_minute
    return before if unchanged else Bucket(per_minute)


def _come_back(wait_s: float) -> str:
    return f"come back in {math.ceil(wait_s * 10) / 10:.1f} s"


def _headers(what: str, bucket: Bucket | None, now: float) -> tuple[tuple[str, str], ...]:
    if bucket is None:
        return ()
    return (
        (f"x-ratelimit-limit-{what}", str(bucket.capacity)),
        (f"x-ratelimit-remaining-{what}", str(bucket.remaining(now))),
        (f"x-ratelimit-reset-{what}", duration(bucket.reset_s(now))),
    )

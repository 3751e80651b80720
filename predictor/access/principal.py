"""An API key in use: the models that it may use, and what is left of its limits."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from predictor.access.keys import NEVER, ApiKey
from predictor.access.limits import Bucket, duration
from predictor.errors import BatchTooLarge, Forbidden, RateLimited

NO_ALIASES: Mapping[str, Sequence[str]] = MappingProxyType({})


class Principal:
    """Created by the authenticator at the first use of a key. Used on one event loop only.

    A request that is refused for its tokens still counts as a request, because it was received,
    decoded and tokenised, and an immediate retry must not be free.
    """

    __slots__ = ("_key", "_models", "_requests", "_tokens", "digest", "expires_s")

    def __init__(self, digest: bytes, key: ApiKey, before: "Principal | None" = None) -> None:
        """Keep the buckets of unchanged limits of `before`, the previous principal of this name."""
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

    def may_use(self, model: str, aliases: Mapping[str, Sequence[str]] = NO_ALIASES) -> None:
        """Check that the key may use a model, by its name or by one of its aliases.

        Args:
            aliases: further names by the names of models.

        Raises:
            Forbidden: the key may use other models only.
        """
        if self._models and model not in self._models:
            if any(alias in self._models for alias in aliases.get(model, ())):
                return
            raise Forbidden(f"the API key {self.name!r} may not use the model {model[:80]!r}")

    def check_limits(self, now: float) -> None:
        """Refuse a request whose body need not be read, because a limit is used up.

        A request that is refused for its tokens counts as a request, see above.

        Raises:
            RateLimited: no requests, or no tokens at all, are left.
        """
        if self._requests is not None and (wait_s := self._requests.wait_s(now)):
            raise self._no_requests(wait_s)
        if self._tokens is not None and (wait_s := self._tokens.wait_s(now)):
            self.charge_request(now)
            raise RateLimited(
                f"the API key {self.name!r} has none of its {self._tokens.capacity} tokens a "
                f"minute left; {_retry_hint(wait_s)}",
                wait_s,
            )

    def charge_request(self, now: float) -> None:
        """Count one request; `now` is in monotonic seconds.

        Raises:
            RateLimited: the key has used up its requests.
        """
        if self._requests is not None and (wait_s := self._requests.take(1, now)):
            raise self._no_requests(wait_s)

    def _no_requests(self, wait_s: float) -> RateLimited:
        capacity = self._requests.capacity if self._requests is not None else 0
        return RateLimited(
            f"the API key {self.name!r} has used up its {capacity} requests a minute; "
            f"{_retry_hint(wait_s)}",
            wait_s,
        )

    def charge_tokens(self, count: int, now: float) -> None:
        """Count the tokens of one request, all of them or none; `now` is in monotonic seconds.

        More tokens than the limit of a minute are granted if none are used up; later requests are
        then refused until the debt has been refilled.

        Raises:
            BatchTooLarge: the key may not send that many tokens in one request.
            RateLimited: the key does not have that many tokens left.
        """
        self._check_size(count)
        if self._tokens is not None and (wait_s := self._tokens.take(count, now)):
            raise RateLimited(
                f"the API key {self.name!r} has {self._tokens.remaining(now)} of its "
                f"{self._tokens.capacity} tokens a minute left and this request has {count}; "
                f"{_retry_hint(wait_s)}",
                wait_s,
            )

    def settle_tokens(self, charged: int, count: int, now: float) -> None:
        """Count what a request turned out to have more than the tokens charged before.

        Raises:
            BatchTooLarge: the key may not send that many tokens in one request.
            RateLimited: nothing was charged before, and the key does not have that many left.
        """
        if charged == 0:
            self.charge_tokens(count, now)
            return
        if self._tokens is not None and count > charged:
            self._tokens.settle(count - charged, now)
        self._check_size(count)

    def _check_size(self, count: int) -> None:
        most = self._key.tokens_per_request
        if most and count > most:
            raise BatchTooLarge(
                f"this request has {count} tokens; the API key {self.name!r} may send {most} in a "
                "request"
            )

    def headers(self, now: float) -> tuple[tuple[str, str], ...]:
        """OpenAI's `x-ratelimit-*` headers; `reset` is the time until a limit is full again."""
        return (*_headers("requests", self._requests, now), *_headers("tokens", self._tokens, now))


def _bucket(per_minute: int, before: Bucket | None) -> Bucket | None:
    if not per_minute:
        return None
    unchanged = before is not None and before.capacity == per_minute
    return before if unchanged else Bucket(per_minute)


def _retry_hint(wait_s: float) -> str:
    return f"retry in {math.ceil(wait_s * 10) / 10:.1f} s"


def _headers(what: str, bucket: Bucket | None, now: float) -> tuple[tuple[str, str], ...]:
    if bucket is None:
        return ()
    return (
        (f"x-ratelimit-limit-{what}", str(bucket.capacity)),
        (f"x-ratelimit-remaining-{what}", str(bucket.remaining(now))),
        (f"x-ratelimit-reset-{what}", duration(bucket.reset_s(now))),
    )

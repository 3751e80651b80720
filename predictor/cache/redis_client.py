"""The home of redis-py: the three commands that are used, and the meaning of its errors.

The callers set time limits: a command that is cancelled closes its connection, so no later
command can read its answer.
"""

from typing import Any

from predictor.errors import BadSetting
from predictor.extras import install

# Connections at once; further readers wait for one within their own time limit.
CONNECTIONS = 16
# Options that the URL may set; others could turn off what is relied on here.
URL_OPTIONS = {"connection_class", "host", "port", "path", "db", "username", "password"}


class RedisClient:
    """A bounded pool of connections, made when they are needed."""

    def __init__(self, url: str) -> None:
        """Check the URL; nothing is connected.

        Raises:
            BadSetting: the redis package is missing, or the URL is not that of a Redis.
        """
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
        except ImportError as error:
            raise BadSetting(
                f"--cache-redis-url needs the redis package: {install('redis')}"
            ) from error
        # Half of the library is annotated; the other half must not be called from typed code.
        pool: Any = BlockingConnectionPool
        self._pool: Any = pool(
            max_connections=CONNECTIONS,
            timeout=None,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=None,
            **_url_options(url),
        )
        try:
            # The library checks its options when it first connects, which is too late.
            self._pool.make_connection()
        except Exception:
            raise BadSetting("--cache-redis-url: its options do not fit together") from None
        self._redis: Any = Redis(connection_pool=self._pool)

    async def get(self, names: list[bytes]) -> list[bytes | None]:
        """The values of `names`, None for a missing one.

        Raises:
            Exception: anything; see `classify_error`.
        """
        values: Any = await self._redis.mget(names)
        if len(values) != len(names) or not all(isinstance(v, bytes | None) for v in values):
            raise ValueError("not an answer to MGET")
        return list(values)

    async def set(self, pairs: list[tuple[bytes, bytes]], ttl_s: int) -> int:
        """Store values for `ttl_s` seconds in one round trip; the number that were refused.

        Raises:
            Exception: anything; see `classify_error`.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name, value in pairs:
                pipeline.execute_command("SET", name, value, "EX", ttl_s)
            answers = await pipeline.execute(raise_on_error=False)
        return sum(isinstance(answer, Exception) for answer in answers)

    async def ping(self) -> None:
        await self._redis.execute_command("PING")

    async def close(self) -> None:
        await self._pool.disconnect()


def _url_options(url: str) -> dict[str, Any]:
    from redis.asyncio.connection import parse_url

    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # Its text may quote the URL with its password.
        raise BadSetting(
            "--cache-redis-url: must be redis://, rediss:// or unix:// with a host or path, "
            "as redis://:password@host:6379/0"
        ) from None
    if any(name not in URL_OPTIONS and not name.startswith("ssl_") for name in options):
        # The name is not shown: after a '?' in a password it would be a part of it.
        raise BadSetting("--cache-redis-url: only db, username, password and ssl_... may follow ?")
    if not options.keys() & {"host", "path"}:
        # The library would take localhost, which is never meant in a pod.
        raise BadSetting("--cache-redis-url: has no host, or for unix:// no path")
    return options


def classify_error(error: Exception) -> tuple[str, str]:
    """The label of REDIS_FAILURES for an error, and the error's name for the log."""
    from redis import exceptions

    # A refused password comes as a ConnectionError with the real error as its cause.
    if isinstance(error.__cause__, exceptions.RedisError):
        error = error.__cause__
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        reason = "timeout"
    elif isinstance(error, exceptions.ResponseError | exceptions.AuthenticationError):
        reason = "refused"
    elif isinstance(error, exceptions.ConnectionError | OSError):
        reason = "connection"
    else:  # the library's parser raises many errors for an answer that it cannot read
        reason = "garbage"
    return reason, type(error).__name__

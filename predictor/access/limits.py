"""So much a minute, as a token bucket: pure arithmetic, time passed in.

A bucket holds one minute's amount and refills continuously, so there is no edge of a window at
which twice the limit passes. What is taken at one moment is exact; time is a float of seconds.

An amount larger than the whole bucket is let through when the bucket is full, and leaves a debt
that is worked off before anything else is let through. Refusing it for ever would be worse: a
client cannot count this server's tokens and so does not know where to split. The mean stays at the
limit, and the batcher's queue does the same with a request that is larger than itself.
In any stretch of time at most `max(capacity, largest amount) + rate * time` is granted.
"""

import math

# Added to every wait, seconds: who comes back when told is never refused for a rounding error.
SLACK_S = 0.001


class Bucket:
    """One limit of one key, full at first."""

    __slots__ = ("_latest", "_level", "_rate", "capacity")

    def __init__(self, per_minute: int) -> None:
        self.capacity = per_minute
        self._rate = per_minute / 60.0
        self._level = float(per_minute)
        self._latest = -math.inf

    def _refill(self, now: float) -> None:
        """Add what has come since the latest time seen.

        An earlier time counts as the latest: going back gives nothing, and coming again over the
        same stretch gives nothing twice.
        """
        if now > self._latest:
            if self._level < self.capacity:
                self._level = min(
                    float(self.capacity), self._level + (now - self._latest) * self._rate
                )
            self._latest = now

    def take(self, amount: int, now: float) -> float:
        """Take all of `amount` or nothing.

        Args:
            now: monotonic seconds.

        Returns:
            0 if it was taken, else the seconds until it can be, if nobody else takes any.

        Raises:
            ValueError: the amount is negative.
        """
        if amount < 0:
            raise ValueError(f"cannot take {amount}")
        self._refill(now)
        needed = min(amount, self.capacity)
        if amount == 0 or self._level >= needed:
            self._level -= amount
            return 0.0
        return (needed - self._level) / self._rate + SLACK_S

    def remaining(self, now: float) -> int:
        """What can be taken at once; 0 while there is a debt."""
        self._refill(now)
        return max(0, int(self._level))

    def reset_s(self, now: float) -> float:
        """Seconds until the bucket is full, if nobody takes any."""
        self._refill(now)
        return (self.capacity - self._level) / self._rate


def duration(seconds: float) -> str:
    """As OpenAI writes durations, to the millisecond: `0s`, `20ms`, `1.2s`, `6m0s`, `1h0m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, milliseconds = divmod(milliseconds, 60_000)
    whole, rest = divmod(milliseconds, 1000)
    text = f"{whole}.{rest:03d}".rstrip("0") + "s" if rest else f"{whole}s"
    if not minutes:
        return text
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"

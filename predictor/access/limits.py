"""Limits per minute as token buckets: pure arithmetic, with the time passed in.

A bucket holds one minute's amount and refills continuously, so there is no boundary between two
windows at which twice the limit would pass. Amounts are exact; times are seconds as floats.

An amount larger than the bucket is granted when the bucket is full. It leaves a debt, and nothing
else is granted until the debt has been refilled. Always refusing such an amount would be worse,
because a client cannot count this server's tokens and does not know where to split its request. The
average stays at the limit, and the batcher's queue treats a request larger than itself in the same
way. In any period at most `max(capacity, largest amount) + rate * period` is granted.
"""

import math

# Added to every wait, seconds, so that a rounding error does not refuse a client that has waited.
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
        """Refill the bucket for the time since the last call.

        If the clock went back, nothing is added until it has passed the latest time again.
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
            0 if it was taken, else the seconds until it can be taken, if no other request does.

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

    def wait_s(self, now: float) -> float:
        """Seconds until anything at all can be taken; 0: now."""
        self._refill(now)
        return 0.0 if self._level >= 1.0 else (1.0 - self._level) / self._rate + SLACK_S

    def settle(self, amount: int, now: float) -> None:
        """Take what an amount that was granted turned out to be more; it may leave a debt."""
        self._refill(now)
        self._level -= amount

    def remaining(self, now: float) -> int:
        """The amount that can be taken at once; 0 while there is a debt."""
        self._refill(now)
        return max(0, int(self._level))

    def reset_s(self, now: float) -> float:
        """Seconds until the bucket is full, if no request takes from it."""
        self._refill(now)
        return (self.capacity - self._level) / self._rate


def duration(seconds: float) -> str:
    """Format a duration as OpenAI does: `0s`, `20ms`, `1.2s`, `6m0s`, `1h0m0s`."""
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

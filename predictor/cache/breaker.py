"""When to stop asking a server that does not answer, and when to try again. Time is passed in."""

# Failures in a row after which nothing is asked.
FAILURES = 5
# The first pause, seconds; each failed probe doubles it.
PAUSE_S = 0.5
LONGEST_S = 30.0


class Breaker:
    """Closed: all may pass. Open: none, until the pause is over; then one, the probe, decides.

    A probe that never reports (its request was cancelled) counts as failed when the same pause is
    over again: the next one is let through.
    """

    __slots__ = ("_failures", "_pause_s", "_probing", "_retry_at")

    def __init__(self) -> None:
        self._failures = 0
        self._pause_s = PAUSE_S
        self._retry_at = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Open or half open: this is what an operator wants to see."""
        return self._failures >= FAILURES

    def allows(self, now: float) -> bool:
        """Whether to ask; whoever is told yes has to report, or is the probe that got lost."""
        if not self.open:
            return True
        if now < self._retry_at:
            return False
        self._probing = True
        self._retry_at = now + self._pause_s
        return True

    def succeeded(self) -> bool:
        """An answer came; whether that closed it."""
        closed = self.open
        self._failures, self._pause_s, self._probing = 0, PAUSE_S, False
        return closed

    def failed(self, now: float) -> bool:
        """None came; whether that opened it.

        While it is open only the probe counts: requests that were under way when it opened all
        fail at once, and must not double the pause each.
        """
        if self.open:
            if self._probing:
                self._probing = False
                self._pause_s = min(self._pause_s * 2, LONGEST_S)
                self._retry_at = now + self._pause_s
            return False
        self._failures += 1
        self._retry_at = now + self._pause_s
        return self.open

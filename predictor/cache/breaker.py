"""When to stop using a server that does not answer, and when to try again. Time is passed in."""

# Failures in a row that open it.
FAILURES = 5
# The first pause, seconds; each failed probe doubles it.
PAUSE_S = 0.5
# The longest pause, seconds.
LONGEST_S = 30.0


class Breaker:
    """Closed: all may pass. Open: none, until the pause is over; then one, the probe, decides.

    A probe that never reports, as its request was cancelled, counts as failed after another pause:
    the next one is let through.
    """

    __slots__ = ("_failures", "_pause_s", "_probing", "_retry_at")

    def __init__(self) -> None:
        self._failures = 0
        self._pause_s = PAUSE_S
        self._retry_at = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Open or half open, which is what operators want to see."""
        return self._failures >= FAILURES

    def allows(self, now: float) -> bool:
        """Whether a request may pass; each one that does must report its outcome."""
        if not self.open:
            return True
        if now < self._retry_at:
            return False
        self._probing = True
        self._retry_at = now + self._pause_s
        return True

    def record_success(self) -> bool:
        """Record an answer; whether it closed the breaker."""
        was_open = self.open
        self._failures = 0
        self._pause_s = PAUSE_S
        self._probing = False
        return was_open

    def record_failure(self, now: float) -> bool:
        """Record a missing answer; whether it opened the breaker.

        While it is open only the probe counts: requests that were under way when it opened all
        fail at once, and each of them must not double the pause.
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

"""How long a connection may take for what it is doing: decisions without a clock and without I/O.

Time is counted in ticks of the one timer of all connections. If the process is paused or its event
loop is blocked, no ticks pass, so clients are not judged for time in which the server did not read.
"""

from dataclasses import dataclass
from enum import Enum, auto

from predictor.server.http.connection.limits import HttpLimits

# Seconds in which a client that was refused may read its last answer.
LINGER_S = 2.0
# Seconds in which a connection that was accepted just before the listener closed may still ask.
LEAVE_S = 1.0


class Phase(Enum):
    """What a connection is waiting for."""

    # For the first byte of a request.
    QUIET = auto()
    # For the end of a request's headers.
    HEAD = auto()
    # For the end of a request's body.
    BODY = auto()
    # For the server's answer, or the server does not read at the moment.
    ANSWER = auto()
    # For the client to read a refusal.
    LINGER = auto()
    # For the only request that a closing listener still answers.
    LEAVE = auto()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a connection has done up to a tick."""

    phase: Phase
    # Requests begun, and requests answered.
    requests: int
    answered: int
    # Bytes received, and bytes of answers that wait for the client.
    received: int
    unread: int


class ConnectionClock:
    """Judges one connection at each tick."""

    __slots__ = (
        "_age",
        "_answered",
        "_lived",
        "_phase",
        "_received",
        "_requests",
        "_unread",
        "_unread_age",
        "_window_age",
    )

    def __init__(self) -> None:
        self._phase = Phase.QUIET
        self._requests = 0
        # Ticks of the whole connection.
        self._lived = 0
        # Ticks in this phase of this request.
        self._age = 0
        # Ticks and bytes received of the present window of a body.
        self._window_age = 0
        self._received = 0
        # Ticks of the present window of an answer, and what was unread at its start.
        self._unread_age = 0
        self._unread = 0
        self._answered = 0

    def tick(self, reading: Reading, limits: HttpLimits, tick_s: float) -> str:
        """Why the connection is to be closed, as the label of a metric; empty: it is in time."""
        self._lived += 1
        if reading.phase is self._phase and reading.requests == self._requests:
            self._age += 1
            self._window_age += 1
        else:
            self._phase = reading.phase
            self._requests = reading.requests
            self._age = 0
            self._window_age = 0
            self._received = reading.received
        reason = self._overdue(reading, limits, tick_s)
        if not reason and self._is_slow_body(reading, limits, tick_s):
            reason = "slow_body"
        if not reason and self._is_stalled(reading, limits, tick_s):
            reason = "slow_reader"
        return reason

    def is_old(self, limits: HttpLimits, tick_s: float) -> bool:
        """Whether the connection is to be closed with its next answer."""
        return 0 < limits.age_s <= self._lived * tick_s

    def _overdue(self, reading: Reading, limits: HttpLimits, tick_s: float) -> str:
        """The reason for which this phase has lasted too long, if it has."""
        reason, most_s = {
            Phase.QUIET: (
                ("idle", limits.keep_alive_s)
                if reading.answered
                else ("first_byte", limits.first_byte_s)
            ),
            Phase.HEAD: ("header_time", limits.header_s),
            Phase.BODY: ("body_time", limits.body_s),
            Phase.ANSWER: ("", 0.0),
            Phase.LINGER: ("lingered", LINGER_S),
            Phase.LEAVE: ("closing", LEAVE_S),
        }[reading.phase]
        return reason if self._age * tick_s >= most_s else ""

    def _is_slow_body(self, reading: Reading, limits: HttpLimits, tick_s: float) -> bool:
        """Whether the body brought too little in the window that ends with this tick."""
        if reading.phase is not Phase.BODY or self._window_age * tick_s < limits.window_s:
            return False
        moved = reading.received - self._received
        self._window_age = 0
        self._received = reading.received
        return moved < limits.window_bytes

    def _is_stalled(self, reading: Reading, limits: HttpLimits, tick_s: float) -> bool:
        """Whether the client read too little of its answers in the window that ends now.

        A further answer is written only after most of what waited was read, so a new answer is
        progress although the bytes that wait become more.
        """
        if not reading.unread or not self._unread or reading.answered != self._answered:
            self._unread_age = 0
            self._unread = reading.unread
            self._answered = reading.answered
            return False
        self._unread_age += 1
        if self._unread_age * tick_s < limits.window_s:
            return False
        stalled = is_stalled(self._unread, reading.unread, limits.window_bytes)
        self._unread_age = 0
        self._unread = reading.unread
        return stalled


def is_stalled(before: int, now: int, window_bytes: int) -> bool:
    """Whether too little was read between two looks at the bytes that wait."""
    return now > 0 and before - now < window_bytes

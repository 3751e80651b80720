"""Single flight: a row that several requests ask for at once is computed by one of them.

No tasks and no locks: whoever comes first leads, in its own coroutine, and the others wait for a
future. A leader that goes away hurts nobody: each of its followers tries for itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from predictor.errors import DeadlineExceeded, EngineError
from predictor.types import Lane

Ids = Sequence[int]
# A row; an error that is everybody's; or None: the leader went away without a result.
Flight = asyncio.Future[bytes | EngineError | None]
Land = Callable[[bytes, bytes], None]
# Computes rows (token ids by key) and lands every one of them, or raises.
Lead = Callable[[Mapping[bytes, Ids], Lane, float | None, Land], Awaitable[None]]


@dataclass(slots=True)
class Landed:
    """rows: by key, all that were wanted; shared: those that somebody else computed."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    shared: list[bytes] = field(default_factory=list)

    def share(self, key: bytes, row: bytes) -> None:
        self.rows[key] = row
        self.shared.append(key)


class Flights:
    """The rows of one model version that are being computed. One event loop."""

    def __init__(self, lead: Lead, kept: Callable[[bytes], bytes | None]) -> None:
        """Nothing flies yet.

        Args:
            kept: a row that is cached by now, asked before a row is tried again.
        """
        self._lead, self._kept = lead, kept
        self._up: dict[Lane, dict[bytes, Flight]] = {lane: {} for lane in Lane}

    def __len__(self) -> int:
        return sum(map(len, self._up.values()))

    async def rows(self, wanted: dict[bytes, Ids], lane: Lane, deadline: float | None) -> Landed:
        """All rows of one request, led or followed.

        Raises:
            DeadlineExceeded: the request's own deadline passed.
            EngineError: the engine failed on one of them, whoever led.
            Overloaded, NotReady: as the leader's own compute says.
        """
        started = asyncio.get_running_loop().time()
        landed = Landed()
        while wanted:
            followed = self._flying(wanted, lane)
            mine = wanted
            if followed:
                mine = {key: wanted[key] for key in wanted if key not in followed}
            # Own rows first: others may wait for them, and theirs fly meanwhile.
            if mine:
                await self._fly(mine, lane, deadline, landed)
            if not followed:
                break
            await _settled(followed.values(), started, deadline)
            wanted = {key: wanted[key] for key in self._take(followed, landed)}
        return landed

    def _flying(self, wanted: Iterable[bytes], lane: Lane) -> dict[bytes, Flight]:
        """The flights to wait for. A query never waits for ingest, which yields to all queries."""
        queries, ingest = self._up[Lane.QUERY], self._up[Lane.INGEST]
        followed = {key: queries[key] for key in wanted if key in queries} if queries else {}
        if lane is Lane.INGEST and ingest:
            followed |= {k: ingest[k] for k in wanted if k in ingest and k not in followed}
        return followed

    async def _fly(
        self, mine: dict[bytes, Ids], lane: Lane, deadline: float | None, landed: Landed
    ) -> None:
        table, create = self._up[lane], asyncio.get_running_loop().create_future
        flights: dict[bytes, Flight] = {key: create() for key in mine}
        table.update(flights)

        def land(key: bytes, row: bytes) -> None:
            landed.rows[key] = row
            del table[key]
            flights.pop(key).set_result(row)

        failure: EngineError | None = None
        try:
            await self._lead(mine, lane, deadline, land)
        except EngineError as error:
            failure = error
            raise
        finally:
            # Any way out: nobody waits for a row that no one computes.
            for key, flight in flights.items():
                del table[key]
                flight.set_result(failure)

    def _take(self, followed: dict[bytes, Flight], landed: Landed) -> list[bytes]:
        """Collect what was waited for; the keys of leaders that went away."""
        again: list[bytes] = []
        for key, flight in followed.items():
            outcome = flight.result()
            if isinstance(outcome, EngineError):
                # An exception of its own: a shared one would grow by every request's traceback.
                raise type(outcome)(*outcome.args)
            row = self._kept(key) if outcome is None else outcome
            if row is None:
                again.append(key)
            else:
                landed.share(key, row)
        return again


async def _settled(flights: Iterable[Flight], started: float, deadline: float | None) -> None:
    """Wait until all have ended; cancelling the waiter leaves them as they are."""
    flying = [flight for flight in flights if not flight.done()]
    if not flying:
        return
    now = asyncio.get_running_loop().time
    left = None if deadline is None else deadline - now()
    if left is not None and left <= 0:
        raise DeadlineExceeded("the deadline passed before the request was queued")
    _, late = await asyncio.wait(flying, timeout=left)
    if late:
        raise DeadlineExceeded(f"not computed within {now() - started:.3f} s")

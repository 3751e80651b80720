"""If several requests need the same row at the same time, it is computed once.

No tasks and no locks: the first request leads, in its own coroutine, and the others follow by
waiting for a future. A leader that is cancelled harms no other request: its followers try again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from predictor.errors import DeadlineExceeded, EngineError
from predictor.types import Lane

Ids = Sequence[int]
# A row; an error that all followers share; or None: the leader ended without a result.
RowFuture = asyncio.Future[bytes | EngineError | None]
Complete = Callable[[bytes, bytes], None]
# Computes rows (token ids by key) and completes every one of them, or raises.
ComputeRows = Callable[[Mapping[bytes, Ids], Lane, float | None, Complete], Awaitable[None]]


@dataclass(slots=True)
class CollectedRows:
    """The rows of one request."""

    # By key, all that were wanted.
    rows: dict[bytes, bytes] = field(default_factory=dict)
    # Keys of the rows that another request computed.
    shared: list[bytes] = field(default_factory=list)

    def share(self, key: bytes, row: bytes) -> None:
        self.rows[key] = row
        self.shared.append(key)


class SingleFlight:
    """The rows of one model version that are being computed. One event loop."""

    def __init__(self, compute_rows: ComputeRows, look_up: Callable[[bytes], bytes | None]) -> None:
        """Nothing is computed yet.

        Args:
            look_up: a row that is cached by now; called before a follower tries again.
        """
        self._compute_rows = compute_rows
        self._look_up = look_up
        self._in_flight: dict[Lane, dict[bytes, RowFuture]] = {lane: {} for lane in Lane}

    def __len__(self) -> int:
        """Number of rows that are being computed now."""
        return sum(map(len, self._in_flight.values()))

    async def rows(
        self, rows: dict[bytes, Ids], lane: Lane, deadline: float | None
    ) -> CollectedRows:
        """All rows of one request, led or followed.

        Raises:
            DeadlineExceeded: the request's own deadline passed.
            EngineError: the engine failed on one of them, for any leader.
            Overloaded, NotReady: as computing the request's own rows says.
        """
        started = asyncio.get_running_loop().time()
        collected = CollectedRows()
        while rows:
            followed = self._followed(rows, lane)
            led = rows
            if followed:
                led = {key: rows[key] for key in rows if key not in followed}
            # Own rows first: others may wait for them, and theirs are computed meanwhile.
            if led:
                await self._lead(led, lane, deadline, collected)
            if not followed:
                break
            await _wait_for(followed.values(), started, deadline)
            rows = {key: rows[key] for key in self._collect(followed, collected)}
        return collected

    def _followed(self, rows: Iterable[bytes], lane: Lane) -> dict[bytes, RowFuture]:
        """The rows to wait for. A query never waits for ingest, which yields to all queries."""
        queries, ingest = self._in_flight[Lane.QUERY], self._in_flight[Lane.INGEST]
        followed = {key: queries[key] for key in rows if key in queries} if queries else {}
        if lane is Lane.INGEST and ingest:
            followed |= {k: ingest[k] for k in rows if k in ingest and k not in followed}
        return followed

    async def _lead(
        self, led: dict[bytes, Ids], lane: Lane, deadline: float | None, collected: CollectedRows
    ) -> None:
        """Compute rows that no other request computes, and complete their futures."""
        table = self._in_flight[lane]
        create = asyncio.get_running_loop().create_future
        futures: dict[bytes, RowFuture] = {key: create() for key in led}
        table.update(futures)

        def complete(key: bytes, row: bytes) -> None:
            collected.rows[key] = row
            del table[key]
            futures.pop(key).set_result(row)

        failure: EngineError | None = None
        try:
            await self._compute_rows(led, lane, deadline, complete)
        except EngineError as error:
            failure = error
            raise
        finally:
            # However this ends, no request may wait for a row that is not computed.
            for key, future in futures.items():
                del table[key]
                future.set_result(failure)

    def _collect(self, followed: dict[bytes, RowFuture], collected: CollectedRows) -> list[bytes]:
        """Collect the awaited rows; return the keys whose leader ended without a row."""
        again: list[bytes] = []
        for key, future in followed.items():
            outcome = future.result()
            if isinstance(outcome, EngineError):
                # A new exception: a shared one would grow by the traceback of every request.
                raise type(outcome)(*outcome.args)
            row = self._look_up(key) if outcome is None else outcome
            if row is None:
                again.append(key)
            else:
                collected.share(key, row)
        return again


async def _wait_for(futures: Iterable[RowFuture], started: float, deadline: float | None) -> None:
    """Wait until all are done; cancelling the waiter leaves them as they are."""
    pending = [future for future in futures if not future.done()]
    if not pending:
        return
    now = asyncio.get_running_loop().time
    left_s = None if deadline is None else deadline - now()
    if left_s is not None and left_s <= 0:
        raise DeadlineExceeded("the deadline passed before the request was queued")
    _, late = await asyncio.wait(pending, timeout=left_s)
    if late:
        raise DeadlineExceeded(f"not computed within {now() - started:.3f} s")

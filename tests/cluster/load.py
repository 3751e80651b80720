"""A steady load through the gateway, of which every single answer is kept."""

import collections
import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

TIMEOUT_S = 20.0
# Requests that the gateway may refuse while it takes over a route with other backends: those of
# about 30 ms. predictor/docs/decisions.md has what was measured, under "At the gateway each version
# has a cluster of its own".
REFUSED_A_CHANGE = 3


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent (monotonic seconds), how it ended, who answered."""

    at: float
    seconds: float
    status: int
    version: str
    error: str = ""

    @property
    def failed(self) -> bool:
        return self.status != 200

    @property
    def is_route_change(self) -> bool:
        """Whether Envoy refused it because its route named a cluster that was not there."""
        return (self.status, self.error, self.version) == (500, "", "")


@dataclass
class Load:
    """Clients in threads that ask one after the other while the block runs.

    Closed loop, with a pause: the machine is the node too. Connections are kept open, as clients
    keep them; one that broke is opened anew and its request counts as failed.

    Attributes:
        unique: every text differs, so that no cache answers; else always the same.
        words: of a text.
        headers: more of them.
    """

    address: str
    host: str
    model: str
    clients: int = 4
    pause_s: float = 0.02
    unique: bool = False
    words: int = 8
    texts: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Load":
        for number in range(self.clients):
            thread = threading.Thread(target=self._ask_on, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 10)

    def _ask_on(self, client: int) -> None:
        connection = self._connect()
        count = 0
        while not self._stopping.wait(self.pause_s):
            answer = self._ask(connection, f"{client}-{count}")
            self.answers.append(answer)
            count += 1
            if answer.error:
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, 80, timeout=TIMEOUT_S)

    def _ask(self, connection: http.client.HTTPConnection, number: str) -> Answer:
        mark = number if self.unique else ""
        texts = [f"{mark} {n} " + "guitar " * self.words for n in range(self.texts)]
        body = json.dumps({"model": self.model, "input": texts})
        started = time.monotonic()
        try:
            headers = {"Host": self.host, "Content-Type": "application/json", **self.headers}
            connection.request("POST", "/v1/embeddings", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as exception:
            return Answer(started, time.monotonic() - started, 0, "", repr(exception))
        version = answer.headers.get("X-Model-Version", "")
        error = "" if answer.status == 200 else content[:200].decode("utf-8", "replace")
        return Answer(started, time.monotonic() - started, answer.status, version, error)

    def settled(self, in_a_row: int = 100) -> bool:
        """Whether the last answers were all good: what comes now is due to what is done now."""
        return len(self.answers) >= in_a_row and not any(
            answer.failed for answer in self.answers[-in_a_row:]
        )

    def failures(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.failed]

    def check_served(self, route_changes: int) -> None:
        """Assert that nothing failed but at most what so many changes of backends may cost."""
        refused = sum(answer.is_route_change for answer in self.failures())
        assert refused == len(self.failures()), self.summary()
        assert refused <= REFUSED_A_CHANGE * route_changes, self.summary()

    def summary(self) -> str:
        """One line about it, for the log of a test and for its message when it fails."""
        slowest = max((answer.seconds for answer in self.answers), default=0.0)
        line = f"{len(self.failures())} of {len(self.answers)} failed, slowest {slowest:.2f} s"
        if failed := self.failures():
            kinds = dict(collections.Counter((a.status, a.error[:80]) for a in failed))
            started = min(answer.at for answer in self.answers)
            first, last = (end(a.at for a in failed) - started for end in (min, max))
            line += f"; {kinds} between {first:.1f} and {last:.1f} s after {started:.1f}"
        return line

    def share(self, version: str, since: float = 0.0) -> float:
        """Share of the answers since then that this version gave."""
        counted = [answer for answer in self.answers if answer.at >= since]
        return sum(answer.version == version for answer in counted) / max(len(counted), 1)

"""The bytes that wait in this process, REST and gRPC together, against one limit.

Each of them is held for a client: it is being sent, waits for the tokenizer or the engine, or was
answered and is not read yet. The limit is a share of the memory that the process may use, so that
clients are refused before the kernel ends the process. Small requests are bounded by their number
(`--max-connections`, `--max-concurrent-requests`), and cost the ledger two additions.

The accounts are plain numbers that their owners change, because a call for each request would cost
more than the rest of what a connection does for it. All of them change on one event loop.
"""

import os
from functools import partial

from predictor.errors import TooManyBytes
from predictor.metrics import WAITING_BYTES, WAITING_LIMIT
from predictor.repository import memory
from predictor.settings import Settings

# Bytes of a request up to which it is never refused for the sake of the ledger.
SMALL_BYTES = 16 << 10
# Bytes of a body up to which its texts are not charged: 4096 such bodies are 16 MiB.
UNCHARGED_BYTES = 4 << 10
# What a decoded request and its rows take for each byte of its body. Measured for 8 MiB without the
# rows: token ids of five digits 6.4, a text with one emoji 4, an ASCII text 1.
TEXT_FACTOR = 8
# The parts of the limit that unread answers may take, for HTTP and for gRPC each, and messages that
# gRPC is receiving.
ANSWERS_PART = 4
MESSAGES_PART = 2

ACCOUNTS = ("requests", "messages", "texts", "http_answers", "grpc_answers")


class Ledger:
    """What waits, by account, in bytes; used on one event loop."""

    __slots__ = ("grpc_answers", "http_answers", "limit", "messages", "requests", "texts")

    def __init__(self, limit_bytes: int) -> None:
        self.limit = limit_bytes
        # Received over HTTP and not answered yet: headers, bodies, pipelined requests.
        self.requests = 0
        # Messages that gRPC is receiving, each with as much as it may have.
        self.messages = 0
        # Decoded requests and their tokens.
        self.texts = 0
        # Written, and not read by the client.
        self.http_answers = 0
        self.grpc_answers = 0

    @property
    def waiting(self) -> int:
        """Bytes that wait, in all accounts."""
        received = self.requests + self.messages + self.texts
        return received + self.http_answers + self.grpc_answers

    @property
    def is_full(self) -> bool:
        """Whether nothing large may be accepted now."""
        received = self.requests + self.messages + self.texts
        return received + self.http_answers + self.grpc_answers >= self.limit

    @property
    def answers_limit(self) -> int:
        """Bytes of unread answers, for HTTP and for gRPC each."""
        return self.limit // ANSWERS_PART

    @property
    def messages_limit(self) -> int:
        """Bytes of messages that gRPC is receiving."""
        return self.limit // MESSAGES_PART

    def charge_texts(self, body_bytes: int) -> int:
        """Charge the texts of a body that is about to be decoded; return what to give back.

        The texts of one request are accepted whatever their size, if no others wait.

        Raises:
            TooManyBytes: they would exceed the limit.
        """
        size = body_bytes * TEXT_FACTOR
        if self.texts and self.waiting + size > self.limit:
            raise TooManyBytes(
                f"{self.waiting} bytes of requests and answers wait; the limit is {self.limit} "
                "(--waiting-memory-share)"
            )
        self.texts += size
        return size

    def publish(self) -> None:
        """Let the metrics read the accounts of this ledger."""
        WAITING_LIMIT.set(self.limit)
        for account in ACCOUNTS:
            WAITING_BYTES.labels(account).set_function(partial(getattr, self, account))


def ledger_of(settings: Settings) -> Ledger:
    """The ledger for the memory that this process may use; at least two of the largest bodies."""
    limit = memory.limit_bytes(settings.repository.memory_limit_mb) or _machine_bytes()
    share = int(limit * settings.transport.waiting_memory_share)
    return Ledger(max(share, 2 * settings.request.max_body_bytes))


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

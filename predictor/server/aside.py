"""A daemon thread for calls that may hang: into a driver, or to a server that nobody vouches for.

Nothing ends such a call from outside: not a signal, not a time limit. So one thread makes them, and
nobody waits for it: not the loop, not the shutdown, not the process.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Aside(Generic[Question, Answer]):
    """Answers one question after the other, on its thread."""

    def __init__(
        self,
        name: str,
        answer: Callable[[Question], Answer],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """answer: never raises. close: called on the thread when it ends."""
        self._answer, self._close = answer, close
        self._asked: SimpleQueue[
            tuple[asyncio.AbstractEventLoop, asyncio.Future[Answer], Question] | None
        ] = SimpleQueue()
        threading.Thread(target=self._main, name=name, daemon=True).start()

    def ask(self, question: Question) -> asyncio.Future[Answer]:
        """The answer to come, on the running loop. To be called again only when it is there."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._asked.put((loop, future, question))
        return future

    def end(self) -> None:
        """Let it end when it can."""
        self._asked.put(None)

    def _main(self) -> None:
        while (asked := self._asked.get()) is not None:
            loop, future, question = asked
            answer = self._answer(question)
            # While it waits for the next question it holds none.
            del asked, question
            try:
                loop.call_soon_threadsafe(_give, future, answer)
            except RuntimeError:  # the loop has ended meanwhile
                break
        self._close()


def _give(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.cancelled():
        future.set_result(answer)

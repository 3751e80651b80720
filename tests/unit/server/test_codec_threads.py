"""Work outside of the event loop."""

import threading

import pytest

from predictor.errors import DeadlineExceeded, InvalidInput
from predictor.kserve_sdk import messages
from predictor.server import codec_threads
from predictor.server.codec_threads import CodecThreads, size_of


async def test_work_is_done_in_another_thread() -> None:
    threads = CodecThreads()
    assert await threads.run(threading.get_ident) != threading.get_ident()
    assert await threads.run(divmod, 7, 2) == (3, 1)


async def test_errors_are_passed_on() -> None:
    def refuse() -> None:
        raise InvalidInput("text is empty")

    with pytest.raises(InvalidInput, match="text is empty"):
        await CodecThreads().run(refuse)


async def test_the_wait_for_a_thread_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_threads, "WAIT_S", 0.01)
    release = threading.Event()
    threads = CodecThreads()
    with pytest.raises(DeadlineExceeded):
        await threads.run(release.wait)
    release.set()


def test_the_size_of_a_body() -> None:
    assert size_of(b"12345") == 5
    message = messages.ModelInferRequest(model_name="m" * 100)
    assert size_of(message) == 102

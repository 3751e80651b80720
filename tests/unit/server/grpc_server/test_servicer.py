"""What a refused call leaves behind."""

import gc
import weakref
from typing import Any, cast

import grpc
import pytest

from predictor.errors import InvalidInput
from predictor.server.admin import Admin
from predictor.server.grpc_server.calls import abort
from predictor.server.grpc_server.servicer import Servicer
from predictor.server.inference import Inference
from predictor.server.ledger import Ledger
from predictor.settings import Settings


class Message:
    """Stands for eight megabytes."""


class Context:
    async def abort(self, code: grpc.StatusCode, details: str, trailing: object) -> None:
        raise grpc.aio.AbortError("Locally aborted.")


class OnlyLedger:
    ledger = Ledger(1 << 20)


async def test_the_error_of_a_refused_call_does_not_keep_its_message() -> None:
    """grpcio keeps the error until the garbage collector runs, which may take many requests."""
    kept: list[weakref.ref[Message]] = []

    async def refuse(requests: object, context: Any) -> bytes:
        message = Message()
        kept.append(weakref.ref(message))
        try:
            raise InvalidInput("the message is no good")
        except InvalidInput as error:
            await abort(context, error)
        return b""

    inference = cast(Inference, OnlyLedger())
    servicer = Servicer(inference, cast(Any, None), cast(Admin, None), Settings())
    gc.disable()
    try:
        with pytest.raises(grpc.aio.AbortError) as raised:
            await servicer._bounded(refuse)(object(), Context())
        assert kept[0]() is None
        assert raised.value.__context__ is None
    finally:
        gc.enable()

"""Reads request headers and gRPC metadata: request id and lane."""

import random
import re

from predictor.errors import InvalidInput
from predictor.protocols.v2_tensors import parse_priority
from predictor.types import Lane

# Request ids that may be logged and sent back to the client.
_SAFE_ID = re.compile(r"[A-Za-z0-9._:/=+@-]{1,128}")
# Characters of a `traceparent` that is read; a valid one has 55.
MAX_TRACEPARENT = 256


def request_id_of(request_id: str | None, traceparent: str | None) -> str:
    """`X-Request-Id` if it is valid, else the trace id of `traceparent`, else a new id."""
    if request_id and _SAFE_ID.fullmatch(request_id):
        return request_id
    if traceparent and len(traceparent) <= MAX_TRACEPARENT:
        parts = traceparent.split("-")
        if len(parts) == 4 and len(parts[1]) == 32 and _SAFE_ID.fullmatch(parts[1]):
            return parts[1]
    return f"{random.getrandbits(128):032x}"  # an id, not a secret


def lane_of(value: str | None) -> Lane | None:
    """The lane that the header `X-Priority` asks for.

    Raises:
        InvalidInput: it is neither a lane nor its number.
    """
    if value is None:
        return None
    try:
        return parse_priority(value.strip().lower())
    except InvalidInput as error:
        raise InvalidInput(f"header X-Priority: {error}") from error

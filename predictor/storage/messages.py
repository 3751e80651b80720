"""What the server and the downloading process send each other."""

import msgspec

from predictor.storage.failure import Failure


class FetchOrder(msgspec.Struct, frozen=True):
    """What the process has to do.

    It is not given as arguments: other users of the machine can read those, and the URI may hold a
    password.
    """

    uri: str
    # The folder to download into.
    tree: str
    # The process with which to die.
    parent: int


class FetchReport(msgspec.Struct, frozen=True):
    """How a download ended."""

    # None: it succeeded.
    failure: Failure | None = None
    # A sentence for each version that must not be published.
    refused: tuple[str, ...] = ()

"""What the server and the downloading process tell each other."""

import msgspec

from predictor.storage.failure import Failure


class Order(msgspec.Struct, frozen=True):
    """What to fetch to where; parent: the process to die with.

    Not given as arguments, because others can read those, and the URI may hold a password.
    """

    uri: str
    tree: str
    parent: int


class Report(msgspec.Struct, frozen=True):
    """How it ended. refused: a sentence for each version that must not be published."""

    failure: Failure | None = None
    refused: tuple[str, ...] = ()

"""Fetches models from object stores and hubs into a folder that is served like any other.

KServe does this with an init container. Without KServe, or if the models of one server change
often, the server does it with the same library. The clients of the stores run in a child process,
so that their memory is freed when they are done, and a client that hangs can be killed.
"""

from predictor.storage.failure import FetchFailed
from predictor.storage.refresh import Refreshed, refresh
from predictor.storage.uri import check_uri, masked, mirror_of

__all__ = ["FetchFailed", "Refreshed", "check_uri", "masked", "mirror_of", "refresh"]

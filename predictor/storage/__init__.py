"""Fetches models from object stores and hubs into a folder that is served like any other.

KServe does this with a container that runs before the server. Where there is no KServe, or one
server has many models that come and go, the server does it with the same library. The clients of
the stores run in a process of their own: their memory goes when they are done, and what hangs can
be killed.
"""

from predictor.storage.failure import FetchFailed
from predictor.storage.refresh import Refreshed, refresh
from predictor.storage.uri import check_uri, masked, mirror_of

__all__ = ["FetchFailed", "Refreshed", "check_uri", "masked", "mirror_of", "refresh"]

"""Who may ask, how much, and who may change what is served; one event loop, no threads."""

from predictor.access.admin import AdminToken
from predictor.access.caller import Caller
from predictor.access.credentials import credential
from predictor.access.guard import Guard

__all__ = ["AdminToken", "Caller", "Guard", "credential"]

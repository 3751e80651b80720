"""Authentication: API keys with their limits, and the admin token; one event loop, no threads."""

from predictor.access.admin import AdminToken
from predictor.access.authenticator import Authenticator
from predictor.access.credentials import credential
from predictor.access.principal import Principal

__all__ = ["AdminToken", "Authenticator", "Principal", "credential"]

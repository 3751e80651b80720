"""What is done to uvicorn's connections: limits on what they send, hold and wait."""

from predictor.server.http.connection.connections import Connections
from predictor.server.http.connection.limits import HttpLimits, http_limits
from predictor.server.http.connection.protocol import HttpConnection

__all__ = ["Connections", "HttpConnection", "HttpLimits", "http_limits"]

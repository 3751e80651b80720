"""The limits of HTTP connections, as numbers, and how a head that exceeds one is refused."""

from dataclasses import dataclass

from predictor.settings import TransportSettings
from predictor.settings.transport import soft_descriptors

# Connections beyond the limit that are accepted for the sake of health checks.
RESERVED_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one listener's connections may do. Times are in seconds, sizes in bytes."""

    header_bytes: int
    headers: int
    pipelined: int
    connections: int
    first_byte_s: float
    header_s: float
    body_s: float
    keep_alive_s: float
    # 0: a connection may be of any age.
    age_s: float
    window_s: float
    # To move in each window.
    window_bytes: int


def http_limits(settings: TransportSettings, descriptors: int | None = None) -> HttpLimits:
    """The limits that the settings and the number of file descriptors allow.

    Args:
        descriptors: how many the process may open; None: as the system says.
    """
    if descriptors is None:
        descriptors = soft_descriptors()
    return HttpLimits(
        header_bytes=settings.max_header_bytes,
        headers=settings.max_headers,
        pipelined=settings.max_pipelined_requests,
        connections=max(1, min(settings.max_connections, descriptors // 2)),
        first_byte_s=settings.first_byte_timeout_s,
        header_s=settings.header_timeout_s,
        body_s=settings.body_timeout_s,
        keep_alive_s=settings.keep_alive_timeout_s,
        age_s=settings.max_connection_age_s,
        window_s=settings.transfer_window_s,
        window_bytes=settings.min_transfer_bytes,
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last answer of a connection, to a request that no application is shown."""

    status: int
    sentence: str
    # The label of `predictor_transport_refusals_total`.
    reason: str
    # Seconds after which the client may try again; 0: it need not.
    retry_after_s: int = 0


MALFORMED = Refusal(400, "Invalid HTTP request received.", "malformed")
WAITING = Refusal(
    503, "Too many bytes of requests and answers wait (--waiting-memory-share).", "waiting", 1
)
TUNNEL = Refusal(400, "CONNECT is not served: this server is not a proxy.", "malformed")


class HeadRefused(Exception):
    """Raised in a callback of the parser, which then stops."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


def uri_too_long(limits: HttpLimits) -> Refusal:
    """The request line has no end within the limit."""
    return Refusal(
        414,
        f"The request line has more than {limits.header_bytes} bytes (--max-header-bytes).",
        "header_bytes",
    )


def head_too_large(limits: HttpLimits) -> Refusal:
    """The headers, or the trailers of a chunked body, have too many bytes."""
    return Refusal(
        431,
        f"The request's headers have more than {limits.header_bytes} bytes (--max-header-bytes).",
        "header_bytes",
    )


def too_many_headers(limits: HttpLimits) -> Refusal:
    """There are more headers than one request may have."""
    return Refusal(
        431,
        f"The request has more than {limits.headers} headers (--max-headers).",
        "header_count",
    )

"""What a connection may cost before its client is known: sizes, counts and clocks."""

import resource
from typing import Annotated

from msgspec import Meta, Struct


class TransportSettings(Struct, frozen=True, kw_only=True):
    """Transport: what a connection may send, hold and wait, before any key is checked."""

    max_header_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            description="Bytes of the request line and the headers of one HTTP request, or of the "
            "metadata of one gRPC call. More are answered with 431 (414 if the request line alone "
            "is longer), and the connection is closed.",
        ),
    ] = 32 << 10
    max_headers: Annotated[
        int,
        Meta(
            ge=8,
            description="Headers of one HTTP request. More are answered with 431, and the "
            "connection is closed.",
        ),
    ] = 100
    max_pipelined_requests: Annotated[
        int,
        Meta(
            ge=1,
            description="Requests that may wait behind another one on the same connection. "
            "Nothing more is read from the connection while that many wait.",
        ),
    ] = 16
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description="Connections to the HTTP port at once, but never more than half of the "
            "process's file descriptors. A new connection beyond them replaces the one that has "
            "waited longest for a request; if all of them are busy, it is answered with 503, "
            "except for health checks.",
        ),
    ] = 4096
    first_byte_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds until a new HTTP connection must have begun its first request.",
        ),
    ] = 30.0
    header_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds from the first byte of an HTTP request to the end of its headers.",
        ),
    ] = 10.0
    body_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds from the end of the headers to the end of the body of an HTTP "
            "request, and from the start of a gRPC call to the end of its message.",
        ),
    ] = 60.0
    keep_alive_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds that an HTTP connection may stay open between two requests. A "
            "gateway in front must close its idle connections earlier.",
        ),
    ] = 65.0
    transfer_window_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds in which a client that sends a body or reads an answer must move "
            "--min-transfer-bytes. A slower client is disconnected.",
        ),
    ] = 30.0
    min_transfer_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Bytes that must move in each --transfer-window-s. The default is 2 KiB a "
            "second, slower than any network on which a client would wait.",
        ),
    ] = 64 << 10
    grpc_max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description="Connections to the gRPC port at once, but never more than a quarter of "
            "the process's file descriptors. Further connections are closed.",
        ),
    ] = 1024
    grpc_max_concurrent_streams: Annotated[
        int,
        Meta(
            ge=1,
            description="Calls at once on one gRPC connection. A client keeps further calls "
            "waiting on its side.",
        ),
    ] = 100
    grpc_max_concurrent_calls: Annotated[
        int,
        Meta(
            ge=1,
            description="Calls at once on all gRPC connections. Further calls are answered with "
            "RESOURCE_EXHAUSTED.",
        ),
    ] = 2048
    grpc_reflection: Annotated[
        bool,
        Meta(
            description="Serve gRPC's server reflection (grpc.reflection.v1alpha), for clients "
            "without the proto file, such as grpcurl. It needs no API key."
        ),
    ] = False
    grpc_keepalive_time: Annotated[
        int,
        Meta(
            ge=1000,
            le=2_147_483_647,
            description="The server pings a gRPC client after so many milliseconds without data. "
            "The name and the unit of this setting and the following are Triton's.",
        ),
    ] = 7_200_000
    grpc_keepalive_timeout: Annotated[
        int,
        Meta(
            ge=1,
            le=2_147_483_647,
            description="The client has so many milliseconds to answer such a ping; without an "
            "answer the connection is closed.",
        ),
    ] = 20_000
    grpc_keepalive_permit_without_calls: Annotated[
        bool, Meta(description="Whether the server pings connections without a call.")
    ] = False
    grpc_http2_max_pings_without_data: Annotated[
        int,
        Meta(ge=0, description="Pings that the server sends without data between. 0: no limit."),
    ] = 2
    grpc_http2_min_recv_ping_interval_without_data: Annotated[
        int,
        Meta(
            ge=0,
            le=2_147_483_647,
            description="A client without calls must leave so many milliseconds between two pings.",
        ),
    ] = 300_000
    grpc_http2_max_ping_strikes: Annotated[
        int,
        Meta(
            ge=0,
            description="Pings that come too early before a connection is closed. 0: no limit.",
        ),
    ] = 2
    grpc_max_connection_age: Annotated[
        int,
        Meta(
            ge=0,
            le=2_147_483_647,
            description="A gRPC client is asked to connect again after so many milliseconds, so "
            "that new pods get a part of its calls; the server varies it by a tenth. No call "
            "fails. 0: never.",
        ),
    ] = 300_000
    grpc_max_connection_age_grace: Annotated[
        int,
        Meta(
            ge=1,
            le=2_147_483_647,
            description="Calls on such a connection then have so many milliseconds to finish.",
        ),
    ] = 600_000
    max_connection_age_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds after which an HTTP connection is closed with its next answer, so "
            "that new pods get a part of the client's requests. 0: never.",
        ),
    ] = 300.0
    waiting_memory_share: Annotated[
        float,
        Meta(
            ge=0.01,
            le=0.9,
            description="Share of the memory limit that requests and answers that wait may take: "
            "headers and bodies that are being read, texts that are tokenised or wait for the "
            "engine, answers that clients have not read. At the limit, requests of more than 16 "
            "KiB are answered with 503, before their bodies are read, or 429, and gRPC calls with "
            "RESOURCE_EXHAUSTED. Unread answers may take a quarter of it, for HTTP and for gRPC "
            "each. The memory limit is that of --memory-limit-mb; without any, the machine's "
            "memory.",
        ),
    ] = 0.25
    max_listener_restarts_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            description="How often within a minute a listener that has ended by itself is started "
            "again on its port. After that the process ends, so that Kubernetes restarts it. A "
            "listener that ends again and again is started once a second, so the default is only "
            "reached if the port cannot be bound again.",
        ),
    ] = 100


def soft_descriptors() -> int:
    """How many file descriptors the process may open; connections take a part of them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft

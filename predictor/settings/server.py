"""Ports, shutdown, logs, traces and the page."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from predictor.settings.fields import alias


class ServerSettings(Struct, frozen=True, kw_only=True):
    """Server: ports, shutdown, logs, traces and the page."""

    host: Annotated[
        str,
        Meta(
            description="Address to listen on; :: serves IPv6 and IPv4. It is never taken from the "
            "variable HOSTNAME."
        ),
    ] = "0.0.0.0"
    http_port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of the REST protocols. 0: any free port.")
    ] = 8080
    grpc_port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of gRPC. 0: any free port.")
    ] = 8081
    enable_grpc: Annotated[bool, Meta(description="Serve gRPC.")] = True
    root_path: Annotated[
        str,
        Meta(
            description="Prefix under which a gateway serves the HTTP port, such as /embeddings-a. "
            "It is in the API's documentation, and paths are served with and without it. "
            "X-Forwarded-* headers are never read.",
        ),
    ] = ""
    cors_origin: Annotated[
        str,
        Meta(
            description="Origins, comma-separated, whose pages may send requests from a browser, "
            "such as https://app.example.com; * allows any. Empty: none. Admin routes are never "
            "open to them.",
            extra=alias("CORS_ALLOW_ORIGIN"),
        ),
    ] = ""
    drain_delay_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds after SIGTERM in which new requests are answered with 503 before "
            "the listeners close.",
        ),
    ] = 5.0
    grace_period_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds that accepted requests have to finish after the listeners "
            "close. Requests that take longer are cut off.",
        ),
    ] = 30.0
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="Format of the log. auto: text on a terminal, otherwise json."),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Lowest level that is logged."),
    ] = "info"
    access_log: Annotated[
        bool,
        Meta(
            description="Log a line for each request: ids, sizes and times, never a text.",
        ),
    ] = False
    access_log_rate: Annotated[
        int,
        Meta(
            ge=1,
            description="Most lines of the access log per second, and as many again for server "
            "errors. Further requests are counted and not logged.",
        ),
    ] = 100
    tracing: Annotated[
        Literal["auto", "otlp", "off"],
        Meta(
            description="Whether spans are sent to the OpenTelemetry collector that the variables "
            "OTEL_* name. auto: if OTEL_EXPORTER_OTLP_ENDPOINT is set. otlp needs '.[otel]'.",
        ),
    ] = "auto"
    metrics_compat: Annotated[
        str,
        Meta(
            description="Also export metrics under the names of TEI (te) and Triton (nv): te, nv, "
            "or te,nv.",
        ),
    ] = ""
    page: Annotated[
        bool,
        Meta(
            description="Serve a page for browsers at / and its figures at /page.json. Like "
            "/metrics, they require no key.",
        ),
    ] = True

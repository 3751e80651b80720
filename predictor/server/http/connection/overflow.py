"""What a connection beyond the limit may ask: whether the server lives, and nothing else."""

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

# The paths that the kubelet, load balancers and TEI's clients probe.
HEALTH_PATHS = frozenset({"/v2/health/live", "/v2/health/ready", "/health"})
SENTENCE = (
    b'{"error":"too many connections are open (--max-connections)","error_type":"Overloaded"}'
)


class HealthOnly:
    """An ASGI application that passes health checks on and answers all else with 503."""

    def __init__(self, app: ASGI3Application) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request and close its connection."""
        if scope["type"] == "http" and scope["path"] in HEALTH_PATHS:
            await self._app(scope, receive, send)
            return
        await send(
            {
                "type": "http.response.start",
                "status": 503,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"%d" % len(SENTENCE)),
                    (b"retry-after", b"1"),
                    (b"connection", b"close"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": SENTENCE, "more_body": False})

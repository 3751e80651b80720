"""The ASGI application: finds a request's route in the table and calls its handler."""

from collections.abc import Mapping

from predictor.errors import ClientGone, PredictorError
from predictor.protocols.codec import Codec
from predictor.server.headers import request_id_of
from predictor.server.http.request import Receive, Request, Scope, Send, send_error
from predictor.server.http.route import Router
from predictor.server.http.services import Services
from predictor.server.inference import internal_error
from predictor.server.watch.long_turns import timed


class HttpApplication:
    """All routes of a table on one port.

    On the public port, an admin route requires the admin token before the answer tells whether the
    path exists. The admin port has only the admin routes; they require the token if one is set.
    """

    def __init__(self, services: Services, router: Router, *, admin_port: bool = False) -> None:
        self._services = services
        self._router = router
        self._admin_port = admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request as ASGI defines it; uvicorn is configured to send HTTP only."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        try:
            if self._admin_port or self._router.is_admin(request.raw_path):
                self._services.admin.check(request.credential, local=self._admin_port)
            match = self._router.match(request.method, request.raw_path)
            route = match.route
            await timed(route.handler(self._services, request, match), route.template)
        except ClientGone:
            return
        except PredictorError as error:
            await send_error(request, error, self._codec_of(request))
        except Exception:
            request_id = request_id_of(None, None)
            fault = internal_error(request_id)
            await send_error(request, fault, self._codec_of(request), request_id=request_id)

    def _codec_of(self, request: Request) -> Codec[bytes]:
        codecs: Mapping[str, Codec[bytes]] = self._services.codecs
        return codecs[self._router.codec_of(request.raw_path)]

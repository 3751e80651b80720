"""Calls of a V2 server: its address, and one exchange of JSON with it."""

import json
import re
from urllib.parse import quote, urlsplit

from predictor.client.exchange import Address, HttpResponse, Unreachable, exchange
from predictor.errors import BadModel, BadSetting

__all__ = ["Address", "Refused", "Unreachable", "call", "model_route", "parse"]

TIMEOUT_S = 120.0
# Longest response, bytes: 32 vectors of 4096 numbers are 3 MB of JSON. A response without an end
# would otherwise take all memory.
MOST_BYTES = 64 << 20
MODEL_PATH = re.compile(r"/v2/models/([^/]+(?:/[^/]+)*?)(?:/versions/([^/]+))?(?:/infer)?/?")


class Refused(BadModel):
    """The server answered with a status other than 200."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def parse(url: str) -> Address:
    """The address in `http(s)://host[:port][/v2/models/NAME[/versions/V]]`.

    Raises:
        BadSetting: it is not such a URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadSetting(f"{url}: not a URL: {error}") from error
    named = MODEL_PATH.fullmatch(parts.path)
    rest = parts.query or parts.fragment or parts.username
    known = parts.scheme in ("http", "https") and parts.hostname and not rest
    if not known or not (named or parts.path in ("", "/")):
        raise BadSetting(
            f"{url}: not a server's URL; expected http://host:port or "
            "http://host:port/v2/models/NAME"
        )
    path = parts.path.rstrip("/").removesuffix("/infer") if named else ""
    path = quote(path, safe="/%:")
    return Address(url, parts.scheme == "https", parts.hostname or "", port, path)


def model_route(model: str) -> str:
    """The path of a model; its name may hold characters that have a meaning in paths."""
    return f"/v2/models/{quote(model, safe='')}"


def call(address: Address, method: str, path: str, body: bytes | None = None) -> tuple[bytes, str]:
    """One exchange of JSON: the body of the response and the model revision that it names.

    Raises:
        BadModel: see `exchange`; Refused: the status is not 200.
        BadSetting: see `exchange`; Unreachable: the server does not answer.
    """
    headers = {"Content-Type": "application/json"}
    if address.key:
        headers["Authorization"] = f"Bearer {address.key}"
    timeout_s = TIMEOUT_S if address.timeout_s is None else address.timeout_s
    response = exchange(
        address, method, path, body, headers, timeout_s=timeout_s, most_bytes=MOST_BYTES
    )
    if response.status != 200:
        message = f"{method} {path} is answered {_refusal(response)}"
        raise Refused(f"{address.url}: {message}", response.status)
    return response.content, response.headers.get("X-Model-Revision", "unknown")


def _refusal(response: HttpResponse) -> str:
    try:
        message = json.loads(response.content)["error"]
    except (ValueError, LookupError, TypeError):
        message = response.content.decode(errors="replace")
    reason = " ".join(str(message).split())[:200]
    return f"{response.status} {response.reason}" + (f": {reason}" if reason else "")

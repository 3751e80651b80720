"""One HTTP exchange with a server, and every way it fails as one sentence."""

import http.client
import json
import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from predictor.errors import BadModel, BadSetting

TIMEOUT_S = 120.0
# Longest answer, bytes: 32 vectors of 4096 numbers are 3 MB of JSON. Who answers without an end
# would otherwise take all memory.
MOST_BYTES = 64 << 20
MODEL_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/infer)?/?")


@dataclass(frozen=True)
class Address:
    """A server, and the path of one of its models; no path yet: the only model it has.

    key: sent as a bearer token. timeout_s: seconds that each wait may take; None: TIMEOUT_S.
    """

    url: str
    secure: bool
    host: str
    port: int | None
    path: str = ""
    key: str = field(default="", repr=False)
    timeout_s: float | None = None


class Unreachable(BadSetting):
    """Nobody answers there, at the moment or at all."""


class Refused(BadModel):
    """The server answered with another status than 200."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def parse(url: str) -> Address:
    """The address in `http(s)://host[:port][/v2/models/NAME[/versions/V]]`.

    Raises:
        BadSetting: it is no such URL.
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
            f"{url}: not a server's URL; wanted is http://host:port or "
            "http://host:port/v2/models/NAME"
        )
    path = parts.path.rstrip("/").removesuffix("/infer") if named else ""
    path = quote(path, safe="/%:")
    return Address(url, parts.scheme == "https", parts.hostname or "", port, path)


def model_route(model: str) -> str:
    """The path of a model under any name, which may hold what a path gives a meaning to."""
    return f"/v2/models/{quote(model, safe='')}"


def call(address: Address, method: str, path: str, body: bytes | None = None) -> tuple[bytes, str]:
    """One exchange: the body of the answer and the revision that it names.

    Raises:
        BadModel: it is not HTTP; Refused: the status is not 200.
        BadSetting: the certificate is not trusted; Unreachable: nobody answers.
    """
    kind = http.client.HTTPSConnection if address.secure else http.client.HTTPConnection
    timeout_s = TIMEOUT_S if address.timeout_s is None else address.timeout_s
    headers = {"Content-Type": "application/json"}
    if address.key:
        headers["Authorization"] = f"Bearer {address.key}"
    connection = kind(address.host, address.port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = _body(address, response)
    except TimeoutError as error:
        raise Unreachable(f"{address.url}: no answer within {timeout_s:.3g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise BadSetting(f"{address.url}: {error.verify_message}") from error
    except (OSError, UnicodeError) as error:  # a host's name may be no name at all
        why = getattr(error, "strerror", None) or str(error)
        raise Unreachable(f"{address.url}: cannot be reached ({why}): is it running?") from error
    except http.client.HTTPException as error:
        raise BadModel(f"{address.url}: does not answer HTTP: {error!r:.200}") from error
    finally:
        connection.close()
    if response.status != 200:
        told = f"{method} {path} is answered {_refusal(response, content)}"
        raise Refused(f"{address.url}: {told}", response.status)
    return content, response.headers.get("X-Model-Revision", "not told")


def _body(address: Address, response: http.client.HTTPResponse) -> bytes:
    """Raises BadModel: it is too long; and what `read` raises."""
    announced = response.length
    if announced is None:  # read(n) would not notice that a body of known length ends early
        content = response.read(MOST_BYTES + 1)
    else:
        content = response.read() if announced <= MOST_BYTES else b""
    if len(content) > MOST_BYTES or (announced or 0) > MOST_BYTES:
        raise BadModel(f"{address.url}: answers more than {MOST_BYTES >> 20} MiB")
    return content


def _refusal(response: http.client.HTTPResponse, content: bytes) -> str:
    try:
        message = json.loads(content)["error"]
    except (ValueError, LookupError, TypeError):
        message = content.decode(errors="replace")
    told = " ".join(str(message).split())[:200]
    return f"{response.status} {response.reason}" + (f": {told}" if told else "")

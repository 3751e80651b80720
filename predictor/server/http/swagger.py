"""The page at `GET /docs`: Swagger UI, which shows the API and lets a person try a request.

Its two files come with the package fastapi-offline, so the page works without access to the
internet. The package is located but never imported, because it imports FastAPI.
"""

import base64
import hashlib
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "fastapi_offline"
# The files that are served, with their content types. The others of the package are not needed.
ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}
# The page's links contain a digest of the file, so after an upgrade a browser uses no old copy. A
# file is served whatever the digest, because a request may reach a pod of another version.
ASSET_HEADERS = (
    (b"cache-control", b"public, max-age=86400"),
    (b"x-content-type-options", b"nosniff"),
)
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%230f766e'/%3E"
    "%3Cpath d='M4 12 12 8.5M4 12 9 4' stroke='white' stroke-width='1.8' stroke-linecap='round'/%3E"
    "%3C/svg%3E"
)
TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>predictor API</title>
<link rel="icon" href="{icon}">
<link rel="stylesheet" href="docs/swagger-ui.css?v={style}">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js?v={bundle}"></script>
<script>{script}</script>
</body>
</html>
"""


@cache
def page(openapi_path: str) -> bytes:
    """The HTML page; `openapi_path` is the document's URL, relative to the page's."""
    return TEMPLATE.format(
        icon=ICON,
        style=_digest("swagger-ui.css"),
        bundle=_digest("swagger-ui-bundle.js"),
        script=_script(openapi_path),
    ).encode()


def page_headers(openapi_path: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of `page(openapi_path)`: nothing is loaded from or sent to another host."""
    script = hashlib.sha256(_script(openapi_path).encode()).digest()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{base64.b64encode(script).decode()}'",
            "style-src 'self'",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    )


def asset(name: str) -> tuple[bytes, str] | None:
    """A file of the page with its content type; None if the page has no such file.

    Raises:
        FileNotFoundError: the package or the file is not installed.
    """
    return (_content(name), ASSETS[name]) if name in ASSETS else None


@cache
def _content(name: str) -> bytes:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {PACKAGE} is not installed")
    return (Path(spec.submodule_search_locations[0]) / "static" / name).read_bytes()


def _digest(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:12]


def _script(openapi_path: str) -> str:
    """The call that shows the document; without `validatorUrl`, it would contact a public host."""
    options = {
        "url": openapi_path,
        "dom_id": "#swagger-ui",
        "deepLinking": True,
        "tryItOutEnabled": True,
        "displayRequestDuration": True,
        "persistAuthorization": False,
        "validatorUrl": None,
    }
    text = json.dumps(options).replace("<", "\\u003c")  # "<" could end the script element
    return f"SwaggerUIBundle({text})"

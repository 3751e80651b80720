"""The page as one response: HTML, style and scripts assembled once, and its security policy.

Style and script are allowed by their digests, so nothing injected into the page is executed; the
page may send requests to this server only.
"""

import binascii
import hashlib
from importlib.resources import files

from predictor.protocols.codec import Encoded
from predictor.server.http.request import HeaderLines

# In the order of their dependencies.
SCRIPTS = ("figures.js", "plots.js", "models.js", "compare.js", "page.js")
STYLE_PLACEHOLDER = "/* page.css */"
SCRIPT_PLACEHOLDER = "/* scripts */"
# Of the figures: not cached, and not sniffed for another type.
DATA_HEADERS: HeaderLines = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


def _source(name: str) -> str:
    """A file of this folder without indents, comments and empty lines."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _digest(text: str) -> str:
    """The digest as a source of a Content-Security-Policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{binascii.b2a_base64(digest, newline=False).decode()}'"


def _assemble() -> tuple[Encoded[bytes], HeaderLines]:
    style = _source("page.css")
    script = '"use strict";\n' + "".join(_source(name) for name in SCRIPTS)
    page = (
        _source("page.html").replace(STYLE_PLACEHOLDER, style).replace(SCRIPT_PLACEHOLDER, script)
    )
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}",
            "connect-src 'self'",
            "img-src data:",  # the icon
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
        (b"vary", b"accept"),
    )
    return Encoded(page.encode(), "text/html; charset=utf-8"), headers


DOCUMENT, HEADERS = _assemble()

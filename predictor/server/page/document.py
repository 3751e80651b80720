"""The page as one answer: HTML, style and script put together once, and what it may do.

Style and script are allowed by their digests, so nothing that gets into the page by any other way
is run; the page may talk to this server and to nobody else.
"""

import binascii
import hashlib
from importlib.resources import files

from predictor.protocols.wire import Encoded
from predictor.server.http import HeaderLines

# In the order in which one uses what the one before it has.
SCRIPTS = ("figures.js", "plots.js", "models.js", "compare.js", "page.js")
STYLE_HERE, SCRIPT_HERE = "/* page.css */", "/* scripts */"
# Of the figures: new ones each time, and never taken for something else.
DATA_HEADERS: HeaderLines = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


def _source(name: str) -> str:
    """A file of this folder without what only its readers need: indents, comments, empty lines."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _digest(text: str) -> str:
    """As a Content-Security-Policy names what it allows."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{binascii.b2a_base64(digest, newline=False).decode()}'"


def _put_together() -> tuple[Encoded, HeaderLines]:
    style = _source("page.css")
    script = '"use strict";\n' + "".join(_source(name) for name in SCRIPTS)
    page = _source("page.html").replace(STYLE_HERE, style).replace(SCRIPT_HERE, script)
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


DOCUMENT, HEADERS = _put_together()

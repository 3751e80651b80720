"""Takes the offer to upgrade out of a request, so that it is answered as HTTP/1.1.

httptools ends the request at its headers if it offers an upgrade, and takes its body for the next
request. Java's HttpClient and `curl --http2` send such offers with every request. The offer may be
ignored (RFC 9110, 7.8), so the head is written again without it and parsed by a new parser.
"""

from collections.abc import Sequence

# Headers that belong to the offer.
OFFER = (b"upgrade", b"http2-settings")


def without_offer(
    method: bytes, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """The head of a request without its offer, up to and including the empty line.

    Args:
        headers: as parsed, so neither names nor values contain line ends; names in lower case.
    """
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode())]
    for name, value in headers:
        if name in OFFER:
            continue
        if name == b"connection":
            kept = _without_upgrade(value)
            if kept:
                lines.append(b"connection: " + kept)
            continue
        lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _without_upgrade(value: bytes) -> bytes:
    """The options of a `Connection` header, except for those of the offer."""
    options = [option.strip() for option in value.split(b",")]
    return b", ".join(option for option in options if option and option.lower() not in OFFER)

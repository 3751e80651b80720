"""The header `Accept`: which media types a client takes, for the page and for /metrics."""

from collections.abc import Iterator
from dataclasses import dataclass

# More ranges than any browser sends; the rest of a longer header is not read.
MAX_RANGES = 32


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of the header."""

    # Lower case, such as `text/html` or `*/*`.
    name: str
    # 0 to 1; 0: not accepted.
    quality: float


def media_ranges(accept: str | None) -> Iterator[MediaRange]:
    """The ranges in the order of the header."""
    for part in (accept or "").split(",", MAX_RANGES)[:MAX_RANGES]:
        name, _, parameters = part.partition(";")
        yield MediaRange(name.strip().lower(), _quality(parameters))


def _quality(parameters: str) -> float:
    """The `q` of a range; a value that is not a number from 0 to 1 counts as not accepted."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0.0 <= quality <= 1.0 else 0.0
    return 1.0


def prefers_html(accept: str | None) -> bool:
    """Whether the client prefers text/html to application/json (RFC 9110, 12.5.1).

    The most specific range that matches a type gives its quality; at the same quality the type
    that is named more specifically wins. JSON is the default: no header, `*/*`, both alike.
    """
    ranges = list(media_ranges(accept))
    html = _rank(ranges, "text/html")
    return html[0] > 0 and html > _rank(ranges, "application/json")


def _rank(ranges: list[MediaRange], media_type: str) -> tuple[float, int]:
    """Quality of a type, and how specific the range is that gives it: 3 names it, 0 is none."""
    specificities = {"*/*": 1, f"{media_type.partition('/')[0]}/*": 2, media_type: 3}
    rank = (0.0, 0)
    for media_range in ranges:
        specificity = specificities.get(media_range.name, 0)
        if specificity > rank[1]:
            rank = (media_range.quality, specificity)
    return rank

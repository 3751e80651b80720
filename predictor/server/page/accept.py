"""Who gets the page: who likes HTML better than JSON, which is browsers and nobody's probe."""

# More parts than any browser sends; the rest of a longer header is not read.
MAX_PARTS = 32
# How exactly a range names a type: not at all, by `*/*`, by its half, by its whole name.
Rank = tuple[float, int]


def prefers_html(accept: str | None) -> bool:
    """Whether `Accept` puts text/html before application/json (RFC 9110, 12.5.1).

    At the same weight the one that is named more exactly wins; what is open is JSON, as it was
    before there was a page: no header, `*/*`, both alike.
    """
    if not accept:
        return False
    html: Rank = (0.0, 0)
    json: Rank = (0.0, 0)
    for part in accept.split(",", MAX_PARTS)[:MAX_PARTS]:
        name, _, parameters = part.partition(";")
        media, weight = name.strip().lower(), _weight(parameters)
        html = _better(html, media, weight, "text")
        json = _better(json, media, weight, "application")
    return html[0] > 0 and html > json


def _better(known: Rank, media: str, weight: float, kind: str) -> Rank:
    """The rank of `kind`'s type after one more range: the most exact range says the weight."""
    whole = "text/html" if kind == "text" else "application/json"
    exactness = {"*/*": 1, f"{kind}/*": 2, whole: 3}.get(media, 0)
    return (weight, exactness) if exactness > known[1] else known


def _weight(parameters: str) -> float:
    """The `q` of a range, 0 to 1; what is no number counts as not wanted."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0.0 <= weight <= 1.0 else 0.0
    return 1.0

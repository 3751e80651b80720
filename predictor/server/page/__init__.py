"""The page that `GET /` shows to browsers, and the figures that it asks for every two seconds.

For who has no dashboard at hand: what is served, how it does, and a box to try it. It reads, and
changes nothing; what it says is on /metrics and in the repository index, too.
"""

from predictor.server.page.accept import prefers_html
from predictor.server.page.document import DATA_HEADERS, DOCUMENT, HEADERS
from predictor.server.page.figures import Figures

__all__ = ["DATA_HEADERS", "DOCUMENT", "HEADERS", "Figures", "prefers_html"]

"""The page that `GET /` shows to browsers, and the figures that it asks for every two seconds.

For users without a dashboard: what is served, how it performs, and a form to try it. It only
reads; the same figures are on /metrics and in the repository index.
"""

from predictor.server.http.page.document import DATA_HEADERS, DOCUMENT, HEADERS
from predictor.server.http.page.figures import Figures

__all__ = ["DATA_HEADERS", "DOCUMENT", "HEADERS", "Figures"]

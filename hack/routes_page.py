"""Write predictor/docs/routes.md out of the table of routes, predictor/server/http/routes.py.

`--check` writes nothing: one line, and exit code 1, if the page is stale. Run by hack/verify.sh,
from any folder.
"""

import sys
from collections.abc import Iterable
from itertools import groupby

from markdown_pages import made_page

from predictor.server.http.inference import infer
from predictor.server.http.operation import not_served
from predictor.server.http.route import Route
from predictor.server.http.routes import ROUTES

HEAD = """\
# Routes

<!-- Made by hack/routes_page.py from predictor/server/http/routes.py. Do not edit. -->

These are all routes of the HTTP port. [Protocols](protocols.md) describes the bodies, and the
server itself documents them at `/docs` (Swagger UI) and `/openapi.json`.

* `{model}` is one segment of the path; `{model...}` may contain slashes. Each segment is decoded
  once, so a name with `/` or `:` in it can be sent as `%2F` or `%3A`.
* A `GET` route also answers `HEAD`, unless it is an admin route. Another method is answered with
  405 and the header `Allow`.
* An unknown path is answered with 404, and the error names the nearest route. It has the shape of
  the protocol whose routes share the most leading segments with the path.
* The column *Errors* says in which protocol's shape errors are answered.
* Access: *API key* means that the route asks for a key if the server has a file of keys
  (`--api-keys-file`); *admin token* means that it asks for the token of `--admin-token-file`, and
  that the route is off without one (see [Security](security.md)); *open* routes never ask.
"""
COLUMNS = "| Method | Path | Purpose | Access | Errors |"
NOT_SERVED = """\
## Not served

Clients of other servers may try these routes. They are answered with 404 and a message that lists
the inference routes of this server.
"""
PROTOCOLS = {
    "v2": "V2",
    "v1": "V1",
    "openai": "OpenAI",
    "tei": "TEI",
    "cohere": "Cohere",
    "cohere_v1": "Cohere",
    "ollama": "Ollama",
    "ollama_prompt": "Ollama",
}


def page() -> str:
    served = [route for route in ROUTES if route.handler is not not_served]
    refused = [route for route in ROUTES if route.handler is not_served]
    sections = [
        section(group, routes) for group, routes in groupby(served, key=lambda route: route.group)
    ]
    return "\n".join([HEAD, *sections, NOT_SERVED, *map(refusal, refused), ""])


def section(group: str, routes: Iterable[Route]) -> str:
    return "\n".join([f"## {group}", "", COLUMNS, "| --- " * 5 + "|", *map(row, routes), ""])


def row(route: Route) -> str:
    protocol = PROTOCOLS[route.codecs[0]]
    path = f"`{route.path}`"
    return f"| {route.method} | {path} | {route.summary} | {access(route)} | {protocol} |"


def access(route: Route) -> str:
    if route.admin:
        return "admin token"
    return "API key" if route.handler is infer else "open"


def refusal(route: Route) -> str:
    return f"* {route.method} `{route.path}`"


if __name__ == "__main__":
    sys.exit(made_page("predictor/docs/routes.md", page(), "routes_page.py", __doc__))

"""Routes, and the router that finds the route of a request by its method and raw path.

Paths are matched as they were sent and each part is decoded once. A model's name may therefore
contain an encoded `/` or `:`, and no path has a second spelling that a gateway could read
differently.
"""

import difflib
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from predictor.errors import MethodNotAllowed, RouteNotFound
from predictor.server.http.request import Request
from predictor.server.http.services import Services

Handler = Callable[[Services, Request, "Match"], Coroutine[Any, Any, None]]

# Placeholder for the name of the default model in the examples.
EXAMPLE_MODEL = "{default model}"
# In the order of the header `Allow`.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Characters that mean the same encoded or not (RFC 3986, 2.3), so no client needs to encode them.
_ENCODED_UNRESERVED = re.compile(r"%(2D|2E|5F|7E|3[0-9]|4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9A])", re.I)
_BROKEN_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What a parameter matches that may contain slashes.
_PARTS = "[^/]+(?:/[^/]+)*"
_PARAMETER = re.compile(r"{(\w+)(\.\.\.)?}")
# Characters of a path that an error repeats and that are compared with the routes.
SHOWN = 80
# Characters of the longest path whose route is kept for the next request. Clients choose paths, and
# a thousand long ones would take the memory of a small pod.
REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path."""

    method: str
    # `{name}` is one part of the path; `{name...}` may contain slashes.
    path: str
    # Its heading in the documentation.
    group: str
    summary: str
    handler: Handler
    # Names of the path's codecs; errors before decoding have the shape of the first.
    codecs: tuple[str, ...]
    # The task that the route is for; empty: the body names it, or the route has none.
    task: str = ""
    # Returns the name of the codec for the keys of a body, if there are several codecs.
    choose: Callable[[frozenset[str]], str] | None = None
    # The type of the body and an example of it, for the documentation.
    body: type[msgspec.Struct] | None = None
    example: Any = None
    # Whether it is an admin route, which requires the admin token.
    admin: bool = False
    # Whether the documentation leaves it out: a second path of a route, or a route not served.
    hidden: bool = False
    # The path as OpenAPI and traces write it.
    template: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", self.path.replace("...}", "}"))

    def codec_for(self, body: bytes) -> str:
        """The name of the codec for a body."""
        if self.choose is None:
            return self.codecs[0]
        try:
            keys = frozenset(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self.codecs[0]  # the codec then refuses the body
        return self.choose(keys)


class Match(NamedTuple):
    """The route of a request, and the decoded parts of its path."""

    route: Route
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Path:
    """The routes of one path, by method."""

    pattern: re.Pattern[str]
    literal: int
    routes: dict[str, Route] = field(default_factory=dict)

    @property
    def allowed(self) -> str:
        """The methods, as the header `Allow` lists them."""
        methods = set(self.routes)
        if self.answers_head:
            methods.add("HEAD")
        return ", ".join(method for method in METHODS if method in methods)

    @property
    def answers_head(self) -> bool:
        """Whether HEAD is answered like GET; not on admin routes, which no probe requests."""
        return "GET" in self.routes and not self.routes["GET"].admin


class Router:
    """Finds the route of a request in a fixed table of routes."""

    def __init__(self, routes: Sequence[Route], root_path: str = "") -> None:
        """root_path: a prefix that paths may have; without it they are served too."""
        self.routes = tuple(routes)
        paths: dict[str, _Path] = {}
        for route in routes:
            path = paths.setdefault(route.path, _compiled(route.path))
            path.routes[route.method] = route
        # The pattern with more literal characters is more specific and is tried first.
        self._paths = sorted(paths.values(), key=lambda path: -path.literal)
        self._static = {name: path for name, path in paths.items() if "{" not in name}
        self._root = root_path
        admin = {_parent(route.path) for route in routes if route.admin}
        self._admin = tuple(admin | {root_path + parent for parent in admin})
        self._find = lru_cache(maxsize=1024)(self._search)
        self._explain = lru_cache(maxsize=256)(self._nearest)

    def match(self, method: str, raw_path: str) -> Match:
        """The route of a request.

        Raises:
            RouteNotFound: there is no such path, or it encodes characters that need no encoding.
            MethodNotAllowed: the path has routes for other methods only.
        """
        static = self._static.get(raw_path)
        path, parameters = (static, {}) if static is not None else self._look_up(raw_path)
        if path is None:
            raise RouteNotFound(self._explain(raw_path[:SHOWN]))
        route_method = "GET" if method == "HEAD" and path.answers_head else method
        route = path.routes.get(route_method)
        if route is None:
            shown = raw_path[:SHOWN]
            why = f"{method[:SHOWN]} {shown}: the method must be {path.allowed}"
            if method == "OPTIONS":
                why += "; pages of other origins are not allowed here (--cors-origin)"
            raise MethodNotAllowed(why, path.allowed)
        return Match(route, parameters)

    def is_admin(self, raw_path: str) -> bool:
        """Whether a path has the prefix of admin routes, even if there is no such route."""
        return raw_path.startswith(self._admin)

    def codec_of(self, raw_path: str) -> str:
        """The codec for errors of a path, even if there is no such path.

        For an unknown path it is the codec of the route that shares the most leading parts with
        it (the first of several), or TEI's if no route shares any.
        """
        try:
            path = self._static.get(raw_path) or self._look_up(raw_path)[0]
        except RouteNotFound:
            path = None
        if path is not None:
            return next(iter(path.routes.values())).codecs[0]
        parts = self._without_root(raw_path).split("/")[1:]
        best = max(self.routes, key=lambda route: _shared(parts, route.path))
        return best.codecs[0] if _shared(parts, best.path) else "tei"

    def _look_up(self, raw_path: str) -> tuple[_Path | None, dict[str, str]]:
        """The path with parameters that matches; long ones are not remembered."""
        return self._find(raw_path) if len(raw_path) <= REMEMBERED else self._search(raw_path)

    def _search(self, raw_path: str) -> tuple[_Path | None, dict[str, str]]:
        _check_encoding(raw_path)
        raw_path = self._without_root(raw_path)
        if (static := self._static.get(raw_path)) is not None:
            return static, {}
        for path in self._paths:
            match = path.pattern.fullmatch(raw_path)
            if match is not None:
                return path, {name: _decoded(part) for name, part in match.groupdict().items()}
        return None, {}

    def _without_root(self, raw_path: str) -> str:
        root = self._root
        return raw_path[len(root) :] if root and raw_path.startswith(root + "/") else raw_path

    def _nearest(self, shown: str) -> str:
        """The message for an unknown path, of which this much is shown."""
        paths = dict.fromkeys(
            route.template for route in self.routes if not (route.hidden or route.admin)
        )
        near = difflib.get_close_matches(shown, paths, n=1, cutoff=0.6)
        if not near:
            return f"no such route: {shown}; GET /docs lists the routes"
        methods = sorted({route.method for route in self.routes if route.template == near[0]})
        return f"no such route: {shown}; the nearest is {'/'.join(methods)} {near[0]}"


def _compiled(path: str) -> _Path:
    pattern = ""
    literal = 0
    place = 0
    for parameter in _PARAMETER.finditer(path):
        pattern += re.escape(path[place : parameter.start()])
        literal += parameter.start() - place
        pattern += f"(?P<{parameter[1]}>{_PARTS if parameter[2] else '[^/]+'})"
        place = parameter.end()
    return _Path(re.compile(pattern + re.escape(path[place:])), literal + len(path) - place)


def _check_encoding(raw_path: str) -> None:
    if "%" not in raw_path:
        return
    shown = raw_path[:SHOWN]
    if encoded := _ENCODED_UNRESERVED.search(raw_path):
        character = unquote_to_bytes(encoded[0]).decode("ascii")
        raise RouteNotFound(
            f"the path encodes {character!r} as {encoded[0]}; send it as it is: {shown}"
        )
    if _BROKEN_ENCODING.search(raw_path):
        raise RouteNotFound(f"the path has a % without two hex digits after it: {shown}")


def _decoded(part: str) -> str:
    if "%" not in part:
        return part
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise RouteNotFound(f"the path is not UTF-8: {part[:SHOWN]}") from error


def _parent(path: str) -> str:
    """`/admin/` for `/admin/cache/flush`, `/v2/repository/` for `/v2/repository/index`."""
    parts = path.split("/")
    return "/".join(parts[: 3 if parts[1] == "v2" else 2]) + "/"


def _shared(parts: Sequence[str], path: str) -> int:
    """How many leading parts a path shares with a route."""
    count = 0
    for part, route_part in zip(parts, path.split("/")[1:], strict=False):
        if part != route_part or not part:
            break
        count += 1
    return count

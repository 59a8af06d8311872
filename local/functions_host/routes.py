"""Which function an HTTP request belongs to, and whether its caller may call it. Pure; as ASP.NET Core routes do it.

Known: literals (case-insensitive), `{name}`, `{name:type}`, `{name?}`, `{*rest}`. A method that no route takes is 404,
not 405; a route without methods takes all; of routes that overlap the first by function name wins. Held to the recorded
answers of Microsoft's router (tests/cases/router.json).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from local.functions_host.constraints import CONSTRAINTS
from local.functions_host.settings import AppRefused

MOST_REQUEST_LINE_BYTES = 8192
RESERVED = ("admin", "runtime")
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)(?::(\w+))?(\?)?\}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    function: str
    template: str
    methods: frozenset[str] | None  # None is every method
    auth_level: str  # anonymous, function or admin
    pattern: re.Pattern[str]
    checks: Mapping[str, str]  # the constraint of each parameter that has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The host's keys: the master key opens everything, the others all functions of level `function`."""

    master: str
    host: Mapping[str, str]
    functions: Mapping[str, Mapping[str, str]]

    def allow(self, auth_level: str, function: str | None, given: str | None) -> bool:
        if auth_level == "anonymous":
            return True
        if not given:
            return False
        good = [self.master]
        if auth_level == "function":
            good += [*self.host.values(), *self.functions.get(function or "", {}).values()]
        return any(hmac.compare_digest(given.encode(), key.encode()) for key in good)


def parse_route(function: str, template: str, methods: Iterable[str] | None, auth_level: str) -> Route:
    """Read one route; raise AppRefused for one that ASP.NET, the Functions host or this host does not take."""
    _refuse_template(function, template)
    pieces: list[str] = []
    checks: dict[str, str] = {}
    segments = [segment for segment in template.split("/") if segment]
    for index, segment in enumerate(segments):
        if "{" not in segment and "}" not in segment:
            pieces.append("/" + re.escape(segment))
            continue
        pieces.append(_parameter((function, template), segment, checks, is_last=index == len(segments) - 1))
    return Route(
        function=function,
        template=template,
        methods=None if methods is None else frozenset(method.upper() for method in methods),
        auth_level=auth_level.lower(),
        # ASCII: a long s in a path is not an s.
        pattern=re.compile(
            "".join(pieces) + ("\\Z" if "{*" in template else "/?\\Z"), re.IGNORECASE | re.ASCII | re.DOTALL
        ),
        checks={name: kind for name, kind in checks.items() if kind},
    )


def _refuse_template(function: str, template: str) -> None:
    reserved = next((word for word in RESERVED if template.lower().startswith(word)), None)
    cause = (
        "begins with a slash" if template.startswith(("/", "~/"))
        else "has an empty segment" if "//" in template
        else "has a question mark" if re.search(r"\?(?!\})", template)
        else f"begins with '{reserved}', which is the host's own" if reserved
        else ""
    )  # fmt: skip
    if cause:
        raise AppRefused(f"function {function}: route '{template}' {cause}", "write it as `segment/{parameter}`")


def _parameter(route: tuple[str, str], segment: str, checks: dict[str, str], *, is_last: bool) -> str:
    function, template = route
    found = _PARAMETER.match(segment)
    if not found or (found[3] and found[3] not in CONSTRAINTS) or ((found[1] or found[4]) and not is_last):
        raise AppRefused(
            f"function {function}: route '{template}' has a segment that is not known here: '{segment}'",
            "use {name}, {name:int|long|guid|bool|alpha|decimal|double|float}, a last {name?} or a last {*rest}",
        )
    stars, name, constraint, optional = found.groups()
    if name.lower() in map(str.lower, checks):
        raise AppRefused(f"function {function}: route '{template}' has the parameter '{name}' twice", "rename one")
    checks[name] = constraint or ""
    if stars:
        return f"(?:/(?P<{name}>(?:[^/].*)?))?"
    return f"(?:/(?P<{name}>[^/]+))?" if optional else f"/(?P<{name}>[^/]+)"


def sort_routes(routes: Iterable[Route]) -> list[Route]:
    """Return routes in the order in which the host tries them: by the name of the function.

    Raises AppRefused when two functions have the same route and a method in common.
    """
    ordered = sorted(routes, key=lambda route: route.function)
    for index, route in enumerate(ordered):
        for other in ordered[:index]:
            same = other.template.strip("/").lower() == route.template.strip("/").lower()
            if same and (other.methods is None or route.methods is None or other.methods & route.methods):
                raise AppRefused(
                    f"functions {other.function} and {route.function} have the same route '{route.template}'",
                    "give one another route or another method",
                )
    return ordered


def decode_escapes(text: str, *, keep_slashes: bool) -> str:
    """Decode `%XX` that is UTF-8; other escapes, and on request those of a slash, stay as they are typed."""

    def decoded(run: re.Match[str]) -> str:
        pieces: list[str] = []
        data, typed, index = unquote_to_bytes(run[0]), run[0], 0
        while index < len(data):
            length = next((n for n in (1, 2, 3, 4) if _is_character(data[index : index + n], n)), 0)
            if not length or (keep_slashes and data[index] == 0x2F):
                pieces.append(typed[3 * index : 3 * index + 3])
                index += 1
            else:
                pieces.append(data[index : index + length].decode())
                index += length
        return "".join(pieces)

    return re.sub("(?:%[0-9A-Fa-f]{2})+", decoded, text)


def _is_character(data: bytes, length: int) -> bool:
    try:
        return len(data) == length and len(data.decode()) == 1
    except UnicodeDecodeError:
        return False


def decode_path(escaped: str) -> str | None:
    """Decode a path as Kestrel does before routing; None for one that it answers with 400.

    Dot segments are resolved after decoding, and `%2F` stays as it is: no escape can put a slash into a parameter.
    """
    if re.search("[^\\x01-\\x1f\\x21-\\x7f]|%00", escaped):
        return None
    segments: list[str] = []
    parts = decode_escapes(escaped, keep_slashes=True).split("/")[1:]
    for index, segment in enumerate(parts):
        if segment == "..":
            segments = segments[:-1]
        elif segment != ".":
            segments.append(segment)
        if segment in (".", "..") and index == len(parts) - 1:
            segments.append("")
    return "/" + "/".join(segments)


def read_query(text: str) -> dict[str, str]:
    """Return a query as the host hands it on: names without regard to case, repeated ones joined, empty values dropped."""
    spellings: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for part in filter(None, text.split("&")):
        name, _, value = (decode_escapes(piece.replace("+", " "), keep_slashes=False) for piece in part.partition("="))
        folded = name.upper()
        spellings[folded] = name
        values.setdefault(folded, []).extend([value] if value else [])
    return {spellings[folded]: ",".join(found) for folded, found in values.items() if found}


def written_path(decoded: str) -> str:
    """Return a decoded path as the URL that a function is given has it: what a path may hold stays, the rest is escaped."""
    return "".join(
        piece if _ESCAPE.fullmatch(piece) else quote(piece, safe="/!$&'()*+,;=:@-._~")
        for piece in re.split("(%[0-9A-Fa-f]{2})", decoded)
    )


def find_route(routes: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the first route for a decoded path below the prefix, with its parameters."""
    for route in routes:
        found = route.pattern.match(path)
        if found is None or (route.methods is not None and method.upper() not in route.methods):
            continue
        given = {name: value for name, value in found.groupdict().items() if value}
        if all(CONSTRAINTS[kind](given[name]) for name, kind in route.checks.items() if name in given):
            return route, given
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the router makes of a request: the status without a function, or a route with all that its function is given."""

    status: int
    route: Route | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    url: str = ""  # path and query

    @property
    def function(self) -> str:
        return self.route.function if self.route else ""


def answer_route(routes: Iterable[Route], prefix: str, method: str, target: str, *, host: str) -> Answer:
    """Route a request line, as Kestrel and the router do; `target` is its bytes as Latin-1."""
    if len(f"{method} {target} HTTP/1.1\r\n") > MOST_REQUEST_LINE_BYTES:
        return Answer(status=414)
    if target == "*":
        return Answer(status=405)
    absolute = re.match(r"https?://([^/?]*)", target, re.IGNORECASE)
    if absolute is not None:
        if absolute[1].lower() != host.lower():
            return Answer(status=400)
        target = target[absolute.end() :] or "/"
    escaped, question, query = target.rstrip(" ").partition("?")
    path = decode_path(escaped) if escaped.startswith("/") else None
    if path is None or not query.isascii() or " " in query:
        return Answer(status=400)
    below = f"/{prefix}" if prefix else ""
    if not path.lower().startswith(f"{below.lower()}/"):
        return Answer(status=404)
    found = find_route(routes, method, path[len(below) :])
    if found is None:
        return Answer(status=404)
    url = written_path(path) + (question + query.replace("#", "%23") if query else "")
    return Answer(status=200, route=found[0], parameters=found[1], query=read_query(query), url=url)

"""Which function an HTTP request belongs to, and whether its caller may call it. Pure; as ASP.NET Core routes do it.

Known: literals (case-insensitive), `{name}`, `{name:type}`, `{name?}`, `{*rest}`. A method that no route takes is 404,
not 405; a route without methods takes all.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from local.functions_host.settings import AppRefused

_CONSTRAINTS: dict[str, str] = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "bool": r"(?i:true|false)",
    "alpha": r"[A-Za-z]+",
    "guid": r"\{?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?",
    "decimal": r"-?\d+(?:\.\d+)?",
    "double": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "float": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
}
_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)(?::(\w+))?(\?)?\}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    function: str
    template: str
    methods: frozenset[str] | None  # None is every method
    auth_level: str  # anonymous, function or admin
    pattern: re.Pattern[str]
    rank: tuple[
        int, ...
    ]  # literal before constrained before plain before optional before catch-all, segment by segment


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
    """Read one route; raise AppRefused for a piece that ASP.NET or this host does not know."""
    pieces: list[str] = []
    rank: list[int] = []
    segments = [segment for segment in template.strip("/").split("/") if segment]
    for index, segment in enumerate(segments):
        if "{" not in segment and "}" not in segment:
            pieces.append("/" + re.escape(segment))
            rank.append(0)
            continue
        pieces.append(_parameter(function, template, segment, is_last=index == len(segments) - 1, rank=rank))
    return Route(
        function=function,
        template=template,
        methods=None if methods is None else frozenset(method.upper() for method in methods),
        auth_level=auth_level.lower(),
        pattern=re.compile("".join(pieces) + "/?\\Z", re.IGNORECASE),
        rank=tuple(rank),
    )


def _parameter(function: str, template: str, segment: str, *, is_last: bool, rank: list[int]) -> str:
    found = _PARAMETER.match(segment)
    if not found or (found[3] and found[3] not in _CONSTRAINTS) or ((found[1] or found[4]) and not is_last):
        raise AppRefused(
            f"function {function}: route '{template}' has a segment that is not known here: '{segment}'",
            "use {name}, {name:int|long|guid|bool|alpha|decimal|double|float}, a last {name?} or a last {*rest}",
        )
    stars, name, constraint, optional = found.groups()
    inner = _CONSTRAINTS[constraint] if constraint else "[^/]+"
    rank.append(4 if stars else 3 if optional else 1 if constraint else 2)
    if stars:
        return f"(?:/(?P<{name}>.*))?"
    return f"(?:/(?P<{name}>{inner}))?" if optional else f"/(?P<{name}>{inner})"


def sort_routes(routes: Iterable[Route]) -> list[Route]:
    return sorted(routes, key=lambda route: route.rank)


def decode_path(escaped: str) -> str | None:
    """Decode a path as Kestrel does before routing; None for one that it answers with 400.

    Dot segments are resolved after decoding, and `%2F` stays as it is: no escape can put a slash into a parameter.
    """
    try:
        decoded = "%2F".join(unquote_to_bytes(piece).decode() for piece in re.split("%2[fF]", escaped))
    except UnicodeDecodeError:
        return None
    if "\0" in decoded:
        return None
    segments: list[str] = []
    parts = decoded.split("/")[1:]
    for index, segment in enumerate(parts):
        if segment == "..":
            segments = segments[:-1]
        elif segment != ".":
            segments.append(segment)
        if segment in (".", "..") and index == len(parts) - 1:
            segments.append("")
    return "/" + "/".join(segments)


def find_route(routes: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the first route for a decoded path below the prefix, with its parameters."""
    for route in routes:
        found = route.pattern.match(path)
        if found and (route.methods is None or method in route.methods):
            return route, {name: value for name, value in found.groupdict().items() if value is not None}
    return None

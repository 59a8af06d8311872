from __future__ import annotations

import pytest

from local.functions_host.routes import Keys, Route, decode_path, find_route, parse_route, sort_routes
from local.functions_host.settings import AppRefused

ROUTES = sort_routes(
    [
        parse_route("rest", "files/{*path}", None, "function"),
        parse_route("one", "batches/{id}", ["GET"], "function"),
        parse_route("make", "batches", ["POST"], "function"),
        parse_route("latest", "batches/latest", ["GET"], "function"),
        parse_route("numbered", "batches/{number:int}", ["GET"], "function"),
        parse_route("seal", "batches/{id}/seal", ["POST"], "function"),
        parse_route("page", "pages/{number:int?}", None, "function"),
        parse_route("guid", "runs/{id:guid}", None, "function"),
    ]
)


def found(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    decoded = decode_path(path)
    assert decoded is not None
    match = find_route(ROUTES, method, decoded)
    return (match[0].function, match[1]) if match else None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/batches/a.b.1", ("one", {"id": "a.b.1"})),
        ("GET", "/BATCHES/a", ("one", {"id": "a"})),
        ("GET", "/batches/latest", ("latest", {})),
        ("GET", "/batches/12", ("numbered", {"number": "12"})),
        ("GET", "/batches/a/", ("one", {"id": "a"})),
        ("GET", "/batches/a%2fb", ("one", {"id": "a%2fb"})),
        ("GET", "/batches/%C3%A9%20x", ("one", {"id": "\u00e9 x"})),
        ("GET", "/batches/a/../b", ("one", {"id": "b"})),
        ("GET", "/batches/x/%2e%2e/y", ("one", {"id": "y"})),
        ("GET", "/batches/..", None),
        ("POST", "/batches/x/seal", ("seal", {"id": "x"})),
        ("POST", "/batches", ("make", {})),
        ("DELETE", "/batches/x", None),
        ("GET", "/batches", None),
        ("GET", "/batches//seal", None),
        ("PATCH", "/files/a/b/c", ("rest", {"path": "a/b/c"})),
        ("GET", "/files", ("rest", {})),
        ("GET", "/pages", ("page", {})),
        ("GET", "/pages/7", ("page", {"number": "7"})),
        ("GET", "/pages/x", None),
        ("GET", "/runs/7d444840-9dc0-11d1-b245-5ffdce74fad2", ("guid", {"id": "7d444840-9dc0-11d1-b245-5ffdce74fad2"})),
        ("GET", "/runs/7", None),
    ],
)
def test_request_goes_to_the_most_exact_route(
    method: str, path: str, expected: tuple[str, dict[str, str]] | None
) -> None:
    assert found(method, path) == expected


@pytest.mark.parametrize("path", ["/batches/%00", "/batches/\xe9"])
def test_path_that_cannot_be_decoded_is_refused(path: str) -> None:
    assert decode_path(path) is None


@pytest.mark.parametrize("template", ["a/{id:regex(x)}", "{*rest}/b", "a/{id?}/b", "a/{b}.{c}", "a/{b", "{id=1}"])
def test_route_that_is_not_known_here_is_refused_by_name(template: str) -> None:
    with pytest.raises(AppRefused, match="has a segment that is not known here"):
        parse_route("f", template, None, "function")


@pytest.mark.parametrize(
    ("template", "cause"),
    [
        ("/lead", "begins with a slash"),
        ("a//b", "has an empty segment"),
        ("a?b", "has a question mark"),
        ("admin/x", "begins with 'admin'"),
        ("Runtimes", "begins with 'runtime'"),
        ("{a}/{A}", "has the parameter 'A' twice"),
    ],
)
def test_route_that_azure_refuses_is_refused_at_start(template: str, cause: str) -> None:
    with pytest.raises(AppRefused, match=cause):
        parse_route("f", template, None, "function")


def test_two_functions_with_one_route_and_a_common_method_are_refused() -> None:
    pair = [parse_route(name, "a/{b}", methods, "function") for name, methods in (("f", ["GET"]), ("g", None))]

    with pytest.raises(AppRefused, match="functions f and g have the same route"):
        sort_routes(pair)


@pytest.mark.parametrize(
    ("level", "key", "allowed"),
    [
        ("anonymous", None, True),
        ("function", None, False),
        ("function", "", False),
        ("function", "wrong", False),
        ("function", "host-key", True),
        ("function", "own-key", True),
        ("function", "other-key", False),
        ("function", "master-key", True),
        ("admin", "host-key", False),
        ("admin", "master-key", True),
    ],
)
def test_key_opens_what_its_level_allows(level: str, key: str | None, allowed: bool) -> None:
    functions = {"f": {"default": "own-key"}, "g": {"default": "other-key"}}
    keys = Keys(master="master-key", host={"default": "host-key"}, functions=functions)

    assert keys.allow(level, "f", key) is allowed


def test_route_without_methods_takes_them_all() -> None:
    route: Route = parse_route("f", "x", None, "FUNCTION")

    assert route.methods is None
    assert route.auth_level == "function"

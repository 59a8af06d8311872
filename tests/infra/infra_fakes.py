"""A data factory behind the resource manager's protocol, as far as the deploy tool speaks it; over TLS, with tokens.

It pages, changes ETags as Azure does (a start or stop is a change too), refuses to touch a running trigger, to create
what refers to nothing and to delete what is referred to, answers some calls with 202 + Location, and can be set to
fail. It proves the tool's order and its nerves; what it cannot prove is Azure's own normalisation and validation.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.deploy.source import COLLECTIONS, references
from local.key_vault.identity import IdentityEndpoint, TokenRefused
from local.wire.certificates import CertificateAuthority
from local.wire.web import Request, Response, WebServer, json_response

FACTORY_ID = "/subscriptions/5ub/resourceGroups/rg-test/providers/Microsoft.DataFactory/factories/adf-test"
KINDS = {collection: kind for kind, collection in COLLECTIONS.items()}
PAGE = 2


@dataclass
class Fault:
    """Answer `response` to the next `times` requests that `when` is true for."""

    when: Callable[[Request], bool]
    response: Response
    times: int = 1
    after: bool = False  # carry the request out, then lose its answer


@dataclass
class FakeFactory:
    ca: CertificateAuthority
    identity: IdentityEndpoint
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    pending: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._etags = (f'"{number:08x}"' for number in itertools.count(1))
        self.server = WebServer("arm", self.answer, ca=self.ca)

    @property
    def url(self) -> str:
        return self.server.url

    # -- what a test does to it -------------------------------------------------------------------------------------

    def add(self, kind: str, name: str, properties: dict[str, Any]) -> None:
        self.items[kind, name] = {"name": name, "properties": copy.deepcopy(properties), "etag": next(self._etags)}

    def edit(self, kind: str, name: str, **properties: Any) -> None:
        """Somebody works in the portal."""
        self.items[kind, name]["properties"].update(properties)
        self.items[kind, name]["etag"] = next(self._etags)

    def fail(self, method: str, part: str, status: int, times: int = 1, *, after: bool = False) -> None:
        body = {"error": {"code": f"Fake{status}", "message": "told to fail"}}
        headers = [("Retry-After", "0")] if status == 429 else []
        self.faults.append(
            Fault(
                when=lambda request: request.method == method and part in request.path,
                response=json_response(status, body, headers),
                times=times,
                after=after,
            )
        )

    def running(self) -> list[str]:
        return sorted(name for (kind, name), body in self.items.items() if kind == "trigger" and _runs(body))

    def writes(self) -> list[str]:
        return [line for line in self.log if not line.startswith("GET")]

    # -- the protocol ---------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        try:
            self.identity.verify(request.headers.get("Authorization", ""), self.url)
        except TokenRefused as error:
            return _error(401, "InvalidAuthenticationToken", str(error))
        if request.query.get("api-version") != "2018-06-01":
            return _error(400, "MissingApiVersionParameter", "api-version")
        path = request.path.removeprefix(FACTORY_ID).strip("/").split("/")
        self.log.append(f"{request.method} {'/'.join(path)}")
        for fault in self.faults:
            if fault.times and fault.when(request):
                fault.times -= 1
                if fault.after:
                    self._route(request, path)
                return fault.response
        return self._route(request, path)

    def _route(self, request: Request, path: list[str]) -> Response:
        if path[0] == "operations":
            self.pending[path[1]] -= 1
            return self._accepted(path[1]) if self.pending[path[1]] > 0 else json_response(200, {"status": "Succeeded"})
        kind = KINDS[path[0]]
        match request.method, path[1:]:
            case "GET", []:
                return self._page(kind, int(request.query.get("page", "0")))
            case "GET", [name]:
                return json_response(200, self.items[kind, name]) if (kind, name) in self.items else _not_found()
            case "PUT", [name]:
                return self._put(kind, name, request)
            case "DELETE", [name]:
                return self._delete(kind, name)
            case "POST", [name, action]:
                return self._act(name, action)
        return _error(405, "MethodNotAllowed", request.method)

    def _page(self, kind: str, number: int) -> Response:
        found = [body for (other, _), body in sorted(self.items.items()) if other == kind]
        page: dict[str, Any] = {"value": found[number * PAGE : (number + 1) * PAGE]}
        if len(found) > (number + 1) * PAGE:
            query = f"api-version=2018-06-01&page={number + 1}"
            page["nextLink"] = f"{self.url}{FACTORY_ID}/{COLLECTIONS[kind]}?{query}"
        return json_response(200, page)

    def _put(self, kind: str, name: str, request: Request) -> Response:
        live = self.items.get((kind, name))
        wanted_etag = request.headers.get("If-Match")
        if wanted_etag and (live is None or live["etag"] != wanted_etag):
            return _error(412, "PreconditionFailed", "the ETag does not match")
        if live and kind == "trigger" and _runs(live):
            return _error(400, "TriggerEnabledCannotUpdate", f"Cannot update enabled Trigger {name}")
        properties = request.json()["properties"]
        if read_only := {"runtimeState", "lastPublishTime"} & set(properties):
            return _error(400, "BadRequest", f"read-only: {read_only}")
        for other in references(properties):
            if other not in self.items:
                return _error(400, "BadRequest", f"The document cannot be created: {other} is not found")
        if kind == "trigger":
            properties = {**properties, "runtimeState": "Stopped"}
        published = {} if kind == "globalParameters" else {"lastPublishTime": "2026-11-24T00:00:00Z"}
        self.add(kind, name, properties | published)
        return json_response(200, self.items[kind, name])

    def _delete(self, kind: str, name: str) -> Response:
        live = self.items.get((kind, name))
        if live is None:
            return Response(status=204)
        if kind == "trigger" and _runs(live):
            return _error(400, "TriggerEnabledCannotUpdate", f"Cannot delete enabled Trigger {name}")
        for (_, other), body in self.items.items():
            if (kind, name) in references(body["properties"]):
                return _error(400, "BadRequest", f"The document cannot be deleted since it is referenced by {other}")
        del self.items[kind, name]
        return Response(status=200)

    def _act(self, name: str, action: str) -> Response:
        trigger = self.items.get(("trigger", name))
        if trigger is None:
            return _not_found()
        properties = trigger["properties"]
        if action in ("subscribeToEvents", "unsubscribeFromEvents"):
            properties["subscribed"] = action == "subscribeToEvents"
            number = str(len(self.pending) + 1)
            self.pending[number] = 2
            return self._accepted(number)
        is_event_trigger = properties["type"] in ("BlobEventsTrigger", "CustomEventsTrigger")
        if action == "start" and is_event_trigger and (not properties.get("subscribed") or any(self._open())):
            return _error(409, "TriggerNotSubscribed", "subscribe to the events first")
        properties["runtimeState"] = "Started" if action == "start" else "Stopped"
        trigger["etag"] = next(self._etags)
        return Response(status=200)

    def _open(self) -> Iterator[bool]:
        return (left > 0 for left in self.pending.values())

    def _accepted(self, number: str) -> Response:
        location = f"{self.url}{FACTORY_ID}/operations/{number}?api-version=2018-06-01"
        return Response(status=202, headers=[("Location", location), ("Retry-After", "0")])


def _runs(body: dict[str, Any]) -> bool:
    return bool(body["properties"].get("runtimeState") == "Started")


def _not_found() -> Response:
    return _error(404, "ResourceNotFound", "it is not there")


def _error(status: int, code: str, message: str) -> Response:
    return json_response(status, {"error": {"code": code, "message": message}})

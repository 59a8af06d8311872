"""Azure Resource Manager's surface of container groups, over TLS, for one machine.

It answers the official client and a pipeline's Web activities unchanged: bearer tokens and rights per principal, api-version,
long-running operations, instance view, logs with the platform's limits. Secrets go in and never come out. What the platform is
documented to do wrong now and then can be asked for (`faults`). Containers are processes, or the image itself when
SEALIFT_CONTAINER_ENGINE is podman or docker. Not done: every other resource type, lists, exec, attach,
virtual networks, and whatever would need several containers in one group.
"""

from __future__ import annotations

import copy
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from local.container_groups.container import Backend, Container, ContainerSpec, LifeFaults
from local.key_vault.identity import TENANT, IdentityEndpoint, TokenRefused
from local.wire.certificates import CertificateAuthority
from local.wire.faults import Faults
from local.wire.service import Service
from local.wire.web import Request, Response, WebServer, json_response

AUDIENCE = "https://management.azure.com"
API_VERSIONS = ("2023-05-01", "2025-09-01")
PROVIDER = "Microsoft.ContainerInstance"
GROUP_ID = (
    "/subscriptions/5ea11f70-0000-4000-8000-000000000001/resourceGroups/sealift"
    f"/providers/{PROVIDER}/containerGroups/sealift-dbt"
)
# What a data factory needs, and no more; who deploys may do everything.
RUNNER_RIGHTS = ("read", "start/action", "stop/action", "containers/logs/read")
ALL_RIGHTS = (*RUNNER_RIGHTS, "restart/action", "write", "delete")

_GROUP = re.compile(
    r"(?P<id>/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    rf"/providers/{re.escape(PROVIDER)}/containerGroups/(?P<name>[a-z0-9]([a-z0-9-]{{0,61}}[a-z0-9])?))(?P<rest>(/.*)?)\Z",
    re.IGNORECASE,
)
_OPERATION = re.compile(
    rf"/subscriptions/[^/]+/providers/{re.escape(PROVIDER)}/locations/[^/]+/(operations|operationresults)/([^/]+)\Z",
    re.IGNORECASE,
)
_LOGS = re.compile(r"/containers/([^/]+)/logs\Z", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class _Group:
    definition: dict[str, Any]
    container: Container
    stale_view: dict[str, Any] | None = None
    identity_from: float = 0.0


class ContainerGroups(Service):
    """Serve container groups; a context manager. Containers end with it, and when this process dies."""

    def __init__(
        self,
        ca: CertificateAuthority,
        identity: IdentityEndpoint,
        folder: Path,
        *,
        principal: str = "dbt",
        rights: Mapping[str, Sequence[str]] | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.faults = LifeFaults()
        self.web_faults = Faults()
        self.log = folder / "container_groups.jsonl"
        self._ca = ca
        self._identity = identity
        self._folder = folder
        self._principal = principal
        self._rights = dict(rights or {"data-factory": RUNNER_RIGHTS, "operator": ALL_RIGHTS})
        self._backend = backend or Backend(engine=os.environ.get("SEALIFT_CONTAINER_ENGINE", ""))
        self._groups: dict[str, _Group] = {}
        self._operations: dict[str, Callable[[], bool]] = {}
        self._lock = threading.RLock()
        self._server = WebServer("resource-manager", self._receive, ca=ca)

    def start(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self._server.start()
        return self

    def stop(self) -> None:
        self.web_faults.clear()
        with self._lock:
            groups = list(self._groups.values())
        for group in groups:
            group.container.stop()
        self._server.stop()

    @property
    def url(self) -> str:
        return self._server.url

    def put_group(self, definition: dict[str, Any], group_id: str = GROUP_ID, *, starts: bool = True) -> str:
        """Create or replace a group and return its id.

        As in Azure it starts at once; `starts=False` makes one that has run before, so that nobody waits for a run that
        finds no request.
        """
        self._put(group_id, copy.deepcopy(definition), starts=starts)
        return group_id

    def container(self, group_id: str = GROUP_ID) -> Container:
        """Return the container of a group, for a test that kills it or waits for it."""
        return self._groups[group_id.lower()].container

    def _put(self, group_id: str, definition: dict[str, Any], *, starts: bool) -> bool:
        spec = _read_spec(definition)
        with self._lock:
            old = self._groups.get(group_id.lower())
            if old is not None:
                old.container.stop()
            container = Container(spec, self._backend, self._folder, self.faults, [self._ca.bundle])
            group = _Group(definition=definition, container=container)
            self._groups[group_id.lower()] = group
            if starts:
                self._begin(group)
            else:
                container.seem_ended()
        return old is None

    def _begin(self, group: _Group) -> None:
        """Start a group's container with its identity and trust; the view before it may linger."""
        if self.faults.stale_reads > 0:
            group.stale_view = _view(group.container)
        group.identity_from = time.monotonic() + self.faults.identity_delay_seconds
        extra = self._identity.environment(self._principal) | self._ca.environment
        if self.faults.identity_delay_seconds:
            extra["IDENTITY_ENDPOINT"] = f"{self.url}/identity/token"
        group.container.start(extra)

    # --- the wire -----------------------------------------------------------------------------------------------------

    def _receive(self, request: Request) -> Response:
        if request.path == "/identity/token":
            return self._late_identity(request)
        principal = ""
        try:
            principal = self._identity.verify(request.headers.get("Authorization", ""), AUDIENCE)
        except TokenRefused as refused:
            response = _unauthorized(request, str(refused))
        else:
            response = self.web_faults.guard(request, lambda request: self._answer(request, principal))
        line = {
            "time": _now(),
            "principal": principal,
            "method": request.method,
            "path": request.path,
            "status": response.status,
        }
        with self._lock, self.log.open("a") as log:
            log.write(json.dumps(line) + "\n")
        return response

    def _answer(self, request: Request, principal: str) -> Response:
        version = request.query.get("api-version")
        if version is None:
            return _error(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if version not in API_VERSIONS:
            return _error(
                400,
                "NoRegisteredProviderFound",
                f"No registered resource provider found for API version '{version}' for type 'containerGroups'. "
                f"The supported api-versions are '{', '.join(API_VERSIONS)}'.",
            )
        operation = _OPERATION.match(request.path)
        if operation:
            return self._operation(operation[1].lower(), operation[2], request)
        found = _GROUP.match(request.path)
        if not found:
            return _error(404, "InvalidResourceType", f"There is no such resource here: {request.path}")
        action = _action(request.method, found["rest"])
        if action is None:
            return _error(405, "MethodNotAllowed", f"{request.method} is not allowed on {request.path}")
        if action not in self._rights.get(principal, ()):
            return _error(
                403,
                "AuthorizationFailed",
                f"The client '{principal}' with object id '{principal}' does not have authorization to perform action "
                f"'{PROVIDER}/containerGroups/{action}' over scope '{found['id']}' or the scope is invalid. If access was "
                "recently granted, please refresh your credentials.",
            )
        return self._carry_out(action, found, request, version)

    def _carry_out(self, action: str, found: re.Match[str], request: Request, version: str) -> Response:
        group_id = found["id"]
        if action == "write":
            return self._write(found, request, version)
        with self._lock:
            group = self._groups.get(group_id.lower())
        if group is None:
            if action == "delete":
                return Response(status=204)
            return _error(
                404,
                "ResourceNotFound",
                f"The Resource '{PROVIDER}/containerGroups/{found['name']}' under resource group '{found['resource_group']}' "
                "was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            )
        match action:
            case "read":
                return json_response(200, self._show(found, group))
            case "delete":
                with self._lock:
                    del self._groups[group_id.lower()]
                shown = self._show(found, group)
                group.container.stop()
                return json_response(200, shown)
            case "start/action":
                return self._start_group(found, group, version)
            case "stop/action":
                group.container.stop()
                return Response(status=204)
            case "restart/action":
                group.container.stop()
                with self._lock:
                    self._begin(group)
                return Response(status=204)
            case _:
                return self._logs(found, group, request)

    def _write(self, found: re.Match[str], request: Request, version: str) -> Response:
        try:
            definition = request.json()
            _read_spec(definition)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            return _error(
                400, "InvalidRequestContent", f"The request content was invalid: {type(error).__name__}: {error}"
            )
        is_new = self._put(found["id"], definition, starts=True)
        group = self._groups[found["id"].lower()]
        headers = self._follow(found, version, lambda: group.container.provisioning not in ("Pending", "Creating"))
        return json_response(201 if is_new else 200, self._show(found, group), headers)

    def _start_group(self, found: re.Match[str], group: _Group, version: str) -> Response:
        with self._lock:
            if self.faults.busy_starts > 0 or (group.container.is_alive and group.container.group_state == "Pending"):
                self.faults.busy_starts = max(0, self.faults.busy_starts - 1)
                return _error(
                    409,
                    "ContainerGroupTransitioning",
                    f"The container group '{found['name']}' is still transitioning, please retry later.",
                )
            if group.container.is_alive:
                return Response(status=204)
            self._begin(group)
        headers = self._follow(found, version, lambda: group.container.provisioning not in ("Pending", "Creating"))
        return Response(status=202, headers=headers)

    def _logs(self, found: re.Match[str], group: _Group, request: Request) -> Response:
        name = _LOGS.match(found["rest"])
        assert name is not None, "the action was read from this path"
        if name[1].lower() != group.container.spec.name.lower():
            return _error(404, "ContainerNotFound", f"The container '{name[1]}' is not in the group '{found['name']}'.")
        tail = request.query.get("tail")
        if tail is not None and not tail.isdecimal():
            return _error(400, "InvalidTail", f"The tail '{tail}' is not a number of lines.")
        content = group.container.logs(
            None if tail is None else int(tail), timestamps=request.query.get("timestamps", "").lower() == "true"
        )
        return json_response(200, {"content": content})

    def _show(self, found: re.Match[str], group: _Group) -> dict[str, Any]:
        """Return the group as a GET does: the definition without its secrets, and the instance view."""
        with group.container.changed:
            view = _view(group.container)
            if group.stale_view is not None:
                view = group.stale_view
                self.faults.stale_reads -= 1
                if self.faults.stale_reads <= 0:
                    group.stale_view = None
        shown = _without_secrets(group.definition)
        properties = shown.setdefault("properties", {})
        properties["provisioningState"] = view["provisioning"]
        properties["instanceView"] = {"events": [], "state": view["state"]}
        properties["containers"][0].setdefault("properties", {})["instanceView"] = view["container"]
        return {
            "id": found["id"],
            "name": found["name"],
            "type": f"{PROVIDER}/containerGroups",
            "location": shown.get("location", "westeurope"),
        } | {name: value for name, value in shown.items() if name not in ("id", "name", "type", "location")}

    def _follow(self, found: re.Match[str], version: str, is_done: Callable[[], bool]) -> list[tuple[str, str]]:
        number = str(uuid.uuid4())
        self._operations[number] = is_done
        place = f"{self.url}/subscriptions/{found['subscription']}/providers/{PROVIDER}/locations/westeurope"
        return [
            ("Azure-AsyncOperation", f"{place}/operations/{number}?api-version={version}"),
            ("Location", f"{place}/operationresults/{number}?api-version={version}"),
            ("Retry-After", "1"),
        ]

    def _operation(self, kind: str, number: str, request: Request) -> Response:
        is_done = self._operations.get(number)
        if is_done is None:
            return _error(404, "OperationNotFound", f"There is no operation {number}.")
        if kind == "operations":
            status = "Succeeded" if is_done() else "InProgress"
            return json_response(200, {"id": request.path, "name": number, "status": status})
        if is_done():
            return Response(status=200)
        return Response(status=202, headers=[("Location", f"{self.url}{request.target}"), ("Retry-After", "1")])

    def _late_identity(self, request: Request) -> Response:
        """Stand before the identity endpoint for a container whose identity comes up late."""
        if any(time.monotonic() < group.identity_from for group in self._groups.values()):
            return json_response(400, {"statusCode": 400, "message": "Identity not found"})
        import requests

        header = {"X-IDENTITY-HEADER": request.headers.get("X-IDENTITY-HEADER", "")}
        answer = requests.get(self._identity.url, params=request.query, headers=header, timeout=10)
        return Response(status=answer.status_code, body=answer.content, headers=[("Content-Type", "application/json")])


def _read_spec(definition: dict[str, Any]) -> ContainerSpec:
    properties = definition["properties"]
    container = properties["containers"][0]
    inside = container["properties"]
    environment = {
        str(each["name"]): str(each.get("secureValue", each.get("value", "")))
        for each in inside.get("environmentVariables") or []
    }
    return ContainerSpec(
        name=container["name"],
        image=inside["image"],
        command=tuple(inside.get("command") or ()),
        environment=environment,
        restart_policy=properties.get("restartPolicy") or "Always",
    )


def _without_secrets(definition: dict[str, Any]) -> dict[str, Any]:
    shown = copy.deepcopy(definition)
    properties = shown["properties"]
    for container in [*properties.get("containers", []), *(properties.get("initContainers") or [])]:
        for variable in container["properties"].get("environmentVariables") or []:
            variable.pop("secureValue", None)
    for registry in properties.get("imageRegistryCredentials") or []:
        registry.pop("password", None)
    for volume in properties.get("volumes") or []:
        volume.pop("secret", None)
        (volume.get("azureFile") or {}).pop("storageAccountKey", None)
    (((properties.get("diagnostics") or {}).get("logAnalytics")) or {}).pop("workspaceKey", None)
    return shown


def _view(container: Container) -> dict[str, Any]:
    shown: dict[str, Any] = {"restartCount": container.restart_count, "currentState": dict(container.state)}
    if container.previous is not None:
        shown["previousState"] = dict(container.previous)
    shown["events"] = copy.deepcopy(container.events)
    return {"provisioning": container.provisioning, "state": container.group_state, "container": shown}


def _action(method: str, rest: str) -> str | None:
    rest = rest.lower().rstrip("/")
    if method == "GET" and _LOGS.match(rest):
        return "containers/logs/read"
    return {
        ("GET", ""): "read",
        ("PUT", ""): "write",
        ("DELETE", ""): "delete",
        ("POST", "/start"): "start/action",
        ("POST", "/stop"): "stop/action",
        ("POST", "/restart"): "restart/action",
    }.get((method, rest))


def _error(status: int, code: str, message: str, headers: Sequence[tuple[str, str]] = ()) -> Response:
    return json_response(status, {"error": {"code": code, "message": message}}, headers)


def _unauthorized(request: Request, reason: str) -> Response:
    if "Authorization" not in request.headers:
        code, message = "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
    else:
        code, message = "InvalidAuthenticationToken", f"The access token is invalid: {reason}."
    challenge = f'Bearer authorization_uri="https://login.windows.net/{TENANT}", error="invalid_token"'
    return _error(401, code, message, [("WWW-Authenticate", challenge)])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""A Key Vault on this machine: TLS, the bearer challenge, secrets, keys and certificates over the real REST protocol.

It answers the real SDKs unchanged. Every principal may do only what it was allowed (`allow`); every request is
logged, with its principal and status and never a value. Not done: soft delete and recovery, backup, rotation
policies, elliptic curves, managed HSM, certificate issuance.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

from local.key_vault.identity import TENANT, IdentityEndpoint, TokenRefused
from local.key_vault.store import ALL_OPERATIONS, Key, Refused, Secret, Store, encode
from local.wire.certificates import CertificateAuthority
from local.wire.faults import Faults
from local.wire.service import Service
from local.wire.web import DropConnection, Request, Response, WebServer, json_response

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}\Z")
_PAGE = 25
_DENIED = (
    "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
    "definitions were changed recently, please observe propagation time.\r\nCaller: oid={principal}\r\n"
    "Action: '{action}'\r\nResource: '{path}'\r\nAssignment: (not found)\r\nDecisionReason: null"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a principal may do: read these secrets, use these keys or only read their public halves (shell patterns), and
    perhaps change them.
    """

    secrets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    public_keys: tuple[str, ...] = ()
    write: bool = False


class KeyVault(Service):
    """Serve one vault; a context manager. Names of secrets and keys in rules are shell patterns, closed by default."""

    def __init__(self, ca: CertificateAuthority, identity: IdentityEndpoint, *, folder: Path | None = None) -> None:
        self.store = Store()
        self.faults = Faults()
        self.log = (folder or ca.folder) / "vault.jsonl"
        self._identity = identity
        self._access: dict[str, list[Access]] = {}
        self._log_lock = threading.Lock()
        self._server = WebServer("vault", self._answer, ca=ca)

    def start(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self._server.start()
        return self

    def stop(self) -> None:
        self.faults.clear()
        self._server.stop()

    @property
    def url(self) -> str:
        return self._server.url

    def allow(
        self,
        principal: str,
        *,
        secrets: Sequence[str] = (),
        keys: Sequence[str] = (),
        public_keys: Sequence[str] = (),
        write: bool = False,
    ) -> None:
        """Let a principal read these secrets, use these keys (`write`: create and change them too), and read the public
        halves of others, as Key Vault Reader does. Rules add up.
        """
        rule = Access(secrets=tuple(secrets), keys=tuple(keys), public_keys=tuple(public_keys), write=write)
        self._access.setdefault(principal, []).append(rule)

    def set_secret(self, name: str, value: str, content_type: str | None = None) -> str:
        """Store a new version of a secret from this process, without a request; return its version."""
        _check_name(name)
        return self.store.set_secret(name, {"value": value, "contentType": content_type}).version

    def create_key(self, name: str, *, bits: int = 3072, operations: Sequence[str] = ("sign", "verify")) -> Key:
        """Make an RSA key (sign only by default) and its self-signed certificate object."""
        _check_name(name)
        return self.store.create_key(name, bits, operations)

    def requests(self) -> list[dict[str, Any]]:
        """Return the request log: time, principal, method, path and status of every request so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _answer(self, request: Request) -> Response:
        principal = "-"
        try:
            principal = self._authenticate(request)
            response = self.faults.guard(request, lambda request: self._dispatch(principal, request))
        except TokenRefused as refusal:
            response = self._challenge(str(refusal))
        except DropConnection:
            self._record(principal, request, 0)
            raise
        except Refused as refusal:
            response = json_response(refusal.status, refusal.body)
        except (KeyError, TypeError, ValueError) as error:
            response = json_response(
                400, {"error": {"code": "BadParameter", "message": f"{type(error).__name__}: {error}"}}
            )
        self._record(principal, request, response.status)
        return response

    def _record(self, principal: str, request: Request, status: int) -> None:
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "principal": principal,
            "method": request.method,
            "path": request.path.rstrip("/"),
            "status": status,
        }
        with self._log_lock, self.log.open("a") as log:
            log.write(json.dumps(entry) + "\n")

    @property
    def _resource(self) -> str:
        # The SDK demands that the vault's host ends with "." + the resource's host; for 127.0.0.1 that is 0.0.1.
        return f"https://0.0.1:{self._server.port}"

    def _authenticate(self, request: Request) -> str:
        authorization = request.headers.get("Authorization")
        if not authorization:
            raise TokenRefused("AKV10000: Request is missing a Bearer or PoP token.")
        return self._identity.verify(authorization, self._resource)

    def _challenge(self, message: str) -> Response:
        challenge = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{self._resource}"'
        body = {"error": {"code": "Unauthorized", "message": message}}
        return json_response(401, body, [("WWW-Authenticate", challenge)])

    def _authorize(self, principal: str, request: Request, kind: str, name: str | None, *, write: bool) -> None:
        for rule in self._access.get(principal, []):
            patterns = rule.secrets if kind == "secrets" else rule.keys
            if kind == "keys" and request.method == "GET":
                patterns += rule.public_keys
            if (rule.write or not write) and any(fnmatchcase(name or "", pattern) for pattern in patterns):
                return
            if name is None and patterns and not write:  # listing names
                return
        action = f"Microsoft.KeyVault/vaults/{kind}/{'write' if write else 'read'}"
        message = _DENIED.format(principal=principal, action=action, path=request.path)
        raise Refused(403, "Forbidden", message, "ForbiddenByRbac")

    def _dispatch(self, principal: str, request: Request) -> Response:
        if "api-version" not in request.query:
            raise Refused(400, "BadParameter", "The request URI is missing the api-version query parameter.")
        kind, *names = request.path.strip("/").split("/")
        name = names[0] if names else None
        rest = names[1:]
        if kind not in ("secrets", "keys", "certificates") or len(rest) > 2:
            raise Refused(404, "NotFound", f"no such address: {request.path}")
        if name is not None:
            _check_name(name)
        # rest[1] is an operation on a version; an operation without a version takes its place.
        last = rest[-1] if rest else None
        changes = request.method in ("PUT", "DELETE") or (request.method == "POST" and last in ("create", "import"))
        self._authorize(principal, request, kind, name, write=changes)
        if kind == "certificates":
            if request.method == "GET" and name is not None:
                return json_response(200, self.store.certificate(name, self.url))
        elif kind == "secrets":
            return self._secrets(request, name, last)
        elif name is not None:
            return self._keys(request, name, rest)
        raise Refused(405, "NotAllowed", f"the stand-in does not know {request.method} {request.path}")

    def _secrets(self, request: Request, name: str | None, version: str | None) -> Response:
        store, vault = self.store, self.url
        match request.method, name, version:
            case "GET", None, None:
                newest = [store.secret_versions(each)[-1] for each in store.secret_names()]
                return self._page(request, newest, with_version=False)
            case "GET", str(), "versions":
                return self._page(request, store.secret_versions(name), with_version=True)
            case "GET", str(), _:
                return json_response(200, store.secret(name, version).describe(vault, with_value=True))
            case "PUT", str(), None:
                return json_response(200, store.set_secret(name, request.json()).describe(vault, with_value=True))
            case "DELETE", str(), None:
                secret = store.delete_secret(name).describe(vault, with_value=False)
                return json_response(200, secret | {"recoveryId": f"{vault}/deletedsecrets/{name}"})
        raise Refused(405, "NotAllowed", f"the stand-in does not know {request.method} {request.path}")

    def _page(self, request: Request, secrets: list[Secret], *, with_version: bool) -> Response:
        start = int(request.query.get("$skiptoken", "0"))
        size = min(int(request.query.get("maxresults", _PAGE)), _PAGE)
        items = [
            secret.describe(self.url, with_value=False, with_version=with_version)
            for secret in secrets[start : start + size]
        ]
        more = start + size < len(secrets)
        version = request.query["api-version"]
        link = f"{self.url}{request.path}?api-version={version}&$skiptoken={start + size}&maxresults={size}"
        return json_response(200, {"value": items, "nextLink": link if more else None})

    def _keys(self, request: Request, name: str, rest: list[str]) -> Response:
        if request.method == "GET" and len(rest) < 2:
            return json_response(200, self.store.key(name, rest[0] if rest else None).describe(self.url))
        if request.method == "POST" and rest == ["create"]:
            body = request.json()
            if body.get("kty") not in ("RSA", "RSA-HSM"):
                raise Refused(400, "BadParameter", f"the stand-in makes RSA keys only, not {body.get('kty')!r}")
            operations = body.get("key_ops") or ALL_OPERATIONS
            return json_response(
                200, self.store.create_key(name, body.get("key_size") or 2048, operations).describe(self.url)
            )
        if request.method == "POST" and rest:
            key = self.store.key(name, rest[0] if len(rest) == 2 else None)
            result = key.operate(rest[-1].lower(), request.json())
            if isinstance(result, bool):
                return json_response(200, {"value": result})
            return json_response(200, {"kid": key.kid(self.url), "value": encode(result)})
        raise Refused(405, "NotAllowed", f"the stand-in does not know {request.method} {request.path}")


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise Refused(400, "BadParameter", f"The name {name!r} is not 1-127 letters, digits and dashes.")

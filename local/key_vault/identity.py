"""The managed-identity endpoint of App Service (protocol 2019-08-01): a token for a caller with a known header.

Each principal has its own secret header, as each Azure resource has; the token carries the principal in `oid` and
`sub`, so that the vault and the resource manager can tell who asks. Tokens are JWTs in the shape that Entra ID
issues, signed with a key of this run (HS256), which our own stand-ins verify; Azurite reads the claims and does not
check signatures. Not done: groups, roles, expiry policies, other token flows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any, Self

from local.wire.service import Service
from local.wire.web import Request, Response, WebServer, json_response

TENANT = "5ea11f70-0000-4000-8000-000000000000"
ISSUER = f"https://sts.windows.net/{TENANT}/"
TOKEN_SECONDS = 24 * 60 * 60


class TokenRefused(Exception):
    """A bearer token that this run did not issue, or not for this audience, or no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registered:
    principal: str
    client_id: str | None


class IdentityEndpoint(Service):
    """Hand out tokens over HTTP and verify them; a context manager."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._by_header: dict[str, _Registered] = {}
        self._by_principal: dict[tuple[str, str | None], str] = {}
        self._server = WebServer("identity", self._answer)

    def start(self) -> Self:
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        return f"{self._server.url}/msi/token"

    def environment(self, principal: str, client_id: str | None = None) -> dict[str, str]:
        """Return the variables that make DefaultAzureCredential of a process this principal.

        With `client_id` the identity is user-assigned: the process must ask for that id (AZURE_CLIENT_ID, which is
        returned too), as in Azure. Without it any client id is taken.
        """
        with self._lock:
            header = self._by_principal.get((principal, client_id))
            if header is None:
                header = f"{principal}.{secrets.token_hex(16)}"
                self._by_principal[(principal, client_id)] = header
                self._by_header[header] = _Registered(principal=principal, client_id=client_id)
        variables = {"IDENTITY_ENDPOINT": self.url, "IDENTITY_HEADER": header}
        return variables | ({"AZURE_CLIENT_ID": client_id} if client_id else {})

    def token(self, principal: str, resource: str, client_id: str | None = None) -> tuple[str, int]:
        """Make a token for `resource`; return it and the time (epoch seconds) when it ends."""
        now = int(time.time())
        ends = now + TOKEN_SECONDS
        claims = {
            "aud": resource,
            "iss": ISSUER,
            "iat": now,
            "nbf": now - 60,
            "exp": ends,
            "tid": TENANT,
            "oid": principal,
            "sub": principal,
            "appid": client_id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"sealift:{principal}")),
            "idtyp": "app",
            "ver": "1.0",
        }
        signed = f"{_encode({'typ': 'JWT', 'alg': 'HS256'})}.{_encode(claims)}"
        return f"{signed}.{self._signature(signed)}", ends

    def verify(self, authorization: str, audience: str) -> str:
        """Return the principal of an Authorization header; raise TokenRefused when it is not ours or not for us."""
        scheme, _, token = authorization.partition(" ")
        signed, _, signature = token.rpartition(".")
        if scheme.lower() != "bearer" or not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            raise TokenRefused("the token was not issued by this run's identity endpoint")
        claims = _decode(signed.partition(".")[2])
        if claims["aud"].rstrip("/") != audience.rstrip("/"):
            raise TokenRefused(f"the token is for {claims['aud']}, not for {audience}")
        if not claims["nbf"] <= time.time() < claims["exp"]:
            raise TokenRefused("the token has expired or is not valid yet")
        return str(claims["oid"])

    def _signature(self, signed: str) -> str:
        return _b64(hmac.digest(self._key, signed.encode(), hashlib.sha256))

    def _answer(self, request: Request) -> Response:
        if request.method != "GET" or request.path != "/msi/token":
            return json_response(404, {"statusCode": 404, "message": "Not Found"})
        registered = self._by_header.get(request.headers.get("X-IDENTITY-HEADER", ""))
        if registered is None:
            return json_response(401, {"statusCode": 401, "message": "X-IDENTITY-HEADER is missing or not known"})
        resource, client_id = request.query.get("resource"), request.query.get("client_id")
        if not resource or request.query.get("api-version") != "2019-08-01":
            return json_response(
                400, {"statusCode": 400, "message": "resource and api-version=2019-08-01 are required"}
            )
        if registered.client_id is not None and client_id != registered.client_id:
            return json_response(
                400, {"statusCode": 400, "message": f"No Managed Identity found for client id {client_id or '(none)'}"}
            )
        token, ends = self.token(registered.principal, resource, client_id)
        return json_response(
            200,
            {
                "access_token": token,
                "expires_on": str(ends),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client_id or "",
            },
        )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode(content: dict[str, Any]) -> str:
    return _b64(json.dumps(content, separators=(",", ":")).encode())


def _decode(part: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return content

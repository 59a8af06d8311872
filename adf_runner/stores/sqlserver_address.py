"""Linked services of SQL Server and Azure SQL: where the database is and how to sign in, of either version.

The recommended version names server, database and authenticationType; the old one has a connection string. What is
given by itself (and so what a run overrides) goes before the connection string. Windows sign-in and service principals
are not run here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adf_runner.errors import ActivityFailed

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Service
    from adf_runner.stores.tds import Address

DEFAULT_PORT = 1433
AUDIENCE = "https://database.windows.net/"
MANAGED = {"SystemAssignedManagedIdentity", "UserAssignedManagedIdentity"}
SYNONYMS = {
    "data source": "server", "server": "server", "address": "server", "addr": "server", "network address": "server",
    "initial catalog": "database", "database": "database", "user id": "userName", "uid": "userName", "user": "userName",
    "password": "password", "pwd": "password", "integrated security": "windows", "trusted_connection": "windows",
    "encrypt": "encrypt", "trustservercertificate": "trustServerCertificate",
    "trust server certificate": "trustServerCertificate",
    "connect timeout": "connectTimeout", "connection timeout": "connectTimeout", "timeout": "connectTimeout",
    "applicationintent": "applicationIntent", "application intent": "applicationIntent", "authentication": "authentication",
}  # fmt: skip
PAIR = re.compile(r"""\s*([^=;]+?)\s*=\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|[^;]*?)\s*(?:;|$)""")
YES = {"true", "yes", "mandatory", "sspi", "1"}


def parts_of(connection_string: str) -> dict[str, str]:
    """Return the parts of a connection string that matter here, under the names of the recommended version."""
    parts: dict[str, str] = {}
    for key, value in PAIR.findall(connection_string):
        name = SYNONYMS.get(" ".join(key.lower().split()))
        quote = value[:1] if value[:1] in {'"', "'"} else ""
        if name:
            parts[name] = value[1:-1].replace(quote * 2, quote) if quote else value
    return parts


def address_of(call: Call, service: Service) -> Address:
    """Return a linked service's address. Raises ActivityFailed where it has none, or no sign-in that works here."""
    from adf_runner.stores.tds import Address

    secret = call.engine.services.secret
    properties = dict(service.properties)
    given = (
        parts_of(secret(call, properties["connectionString"], "connectionString"))
        if "connectionString" in properties
        else {}
    )
    merged: dict[str, Any] = {**given, **properties}
    if not merged.get("server") or not merged.get("database"):
        raise _unusable(service, "names no server or no database", "give server and database")
    host, port = host_of(str(merged["server"]), service)
    encrypt = str(
        merged.get("encrypt", "mandatory" if service.type != "SqlServer" or not given else "optional")
    ).lower()
    if encrypt == "strict":
        raise _unusable(
            service, "asks for encrypt strict (TDS 8), which the driver does not speak", "give encrypt mandatory"
        )
    return Address(
        host=host, port=port, database=str(merged["database"]), encrypt=encrypt in YES,
        trust=str(merged.get("trustServerCertificate", "")).lower() in YES,
        timeout_seconds=float(merged.get("connectTimeout") or 15),
        readonly=str(merged.get("applicationIntent", "")).lower() == "readonly",
        **_sign_in(call, service, merged),
    )  # fmt: skip


def _sign_in(call: Call, service: Service, merged: Mapping[str, Any]) -> dict[str, Any]:
    kind, user = merged.get("authenticationType"), str(merged.get("userName") or "")
    if kind in MANAGED or (
        kind is None and not user and service.type != "SqlServer" and "encryptedCredential" not in merged
    ):
        return {"token": lambda: call.engine.services.token(AUDIENCE)}
    if kind != "SQL" and (kind == "Windows" or str(merged.get("windows", "")).lower() in YES):
        raise _unusable(service, "signs in with Windows", "give authenticationType SQL, userName and password")
    if "password" not in merged:
        raise _unusable(service, "has no password that can be read here", "give userName and password")
    return {"user": user, "password": call.engine.services.secret(call, merged["password"], "password")}


def host_of(server: str, service: Service) -> tuple[str, int]:
    """Return host and port of `tcp:host,1433`; a named instance has no port that can be known."""
    host, comma, port = server.removeprefix("tcp:").partition(",")
    if "\\" in host:
        raise _unusable(service, "names an instance", "give server as host,port")
    if comma and not port.strip().isdigit():
        raise _unusable(service, "has no usable port", "give server as host,port")
    host = host.strip()
    return "localhost" if host in {".", "(local)"} else host, int(port) if comma else DEFAULT_PORT


def _unusable(service: Service, what: str, action: str) -> ActivityFailed:
    return ActivityFailed(
        f"linked service {service.name!r} {what}",
        f"override {service.name}: {action}",
        code="NoCredential",
        retriable=False,
    )

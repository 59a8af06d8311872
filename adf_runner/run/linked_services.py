"""Linked services and datasets at run time: parameters filled, addresses replaced by the overrides, secrets fetched.

Secrets come from Key Vault through azure-keyvault-secrets and never enter a record. One token per resource and one
client per address are kept for the length of a run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from adf_runner.errors import ActivityFailed, InvalidOverride, InvalidParameters
from adf_runner.expressions import Scope
from adf_runner.factory import subset
from adf_runner.factory.shapes import check_fields, nearest
from adf_runner.run.rules import bind

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

    from adf_runner.factory.model import Factory
    from adf_runner.run.records import Overrides

TOKEN_MARGIN_SECONDS = 120
# An override that gives an address replaces every way to the account that the file knows.
STORAGE_ADDRESS = {"serviceEndpoint", "connectionString", "sasUri", "url"}
STORAGE_SECRETS = {"connectionString", "sasUri", "sasToken", "accountKey"}
STORAGE_ACCESS = STORAGE_ADDRESS | STORAGE_SECRETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A linked service ready for use: its evaluated typeProperties with the overrides on top."""

    name: str
    type: str
    properties: Mapping[str, Any] = field(repr=False)

    def whole(self, key: str, default: int) -> int:
        value = self.properties.get(key, default)
        return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A dataset ready for use, with its linked service."""

    name: str
    type: str
    properties: Mapping[str, Any]
    service: Service

    @property
    def location(self) -> Mapping[str, Any]:
        found = self.properties.get("location", {})
        assert isinstance(found, Mapping)
        return found


class Evaluates(Protocol):
    """The part of an activity's call that resolving a reference needs: its scope and its evaluator."""

    def scope(self) -> Scope: ...
    def evaluate(self, value: Any, path: str, scope: Scope | None = None) -> Any: ...


class Services:
    """Resolves references for one engine."""

    def __init__(self, factory: Factory, overrides: Overrides) -> None:
        self.factory = factory
        self.overrides = overrides
        self._lock = threading.Lock()
        self._secrets: dict[tuple[str, str, str], str] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._blobs: dict[tuple[Any, ...], BlobServiceClient] = {}
        for name, replacement in overrides.linked_services.items():
            if name not in factory.linked_services:
                raise InvalidOverride(
                    f"the factory has no linked service {name!r}{nearest(name, list(factory.linked_services))}",
                    "override only what adf/linkedService/ holds",
                )
            kind = factory.linked_services[name].type
            known = subset.LINKED_SERVICES[kind]
            for key in replacement:
                if key not in known:
                    raise InvalidOverride(
                        f"linked service {name!r} ({kind}) has no property {key!r}{nearest(key, list(known))}"
                    )

    def close(self) -> None:
        for client in self._blobs.values():
            client.close()

    def service(self, call: Evaluates, reference: Mapping[str, Any], scope: Scope, path: str) -> Service:
        """Resolve a LinkedServiceReference as seen from `scope`."""
        given = call.evaluate(reference.get("parameters", {}), f"{path}.parameters", scope)
        linked = self.factory.linked_services[reference["referenceName"]]
        inner = Scope(linked_service=_bound(linked.parameters, given, f"linked service {linked.name!r}"), now=scope.now)
        replaced = self.overrides.linked_services.get(linked.name, {})
        dropped = {*replaced, *(STORAGE_ACCESS if STORAGE_ADDRESS & set(replaced) else ())}
        if replaced:
            dropped.add("encryptedCredential")
        properties = {
            key: call.evaluate(value, f"{path} -> {linked.file} {key}", inner)
            for key, value in linked.properties.items()
            if key not in dropped
        }
        _recheck(
            properties,
            {key: shape for key, shape in subset.LINKED_SERVICES[linked.type].items() if key in properties},
            linked.file,
        )
        return Service(name=linked.name, type=linked.type, properties={**properties, **replaced})

    def dataset(self, call: Evaluates, reference: Mapping[str, Any], path: str) -> Data:
        """Resolve a DatasetReference of an activity, and the linked service behind it."""
        dataset = self.factory.datasets[reference["referenceName"]]
        given = call.evaluate(reference.get("parameters", {}), f"{path}.parameters")
        outer = call.scope()
        scope = Scope(dataset=_bound(dataset.parameters, given, f"dataset {dataset.name!r}"), system=outer.system, now=outer.now,
                      parameters=outer.parameters, global_parameters=outer.global_parameters)  # fmt: skip
        properties = {
            key: call.evaluate(value, f"{path} -> {dataset.file} {key}", scope)
            for key, value in dataset.properties.items()
        }
        _recheck(properties, subset.DATASETS[dataset.type], dataset.file)
        service = self.service(call, dataset.linked_service, scope, f"{path} -> {dataset.file} linkedServiceName")
        return Data(name=dataset.name, type=dataset.type, properties=properties, service=service)

    def secret(self, call: Evaluates, value: Any, path: str) -> str:
        """Fetch an AzureKeyVaultSecret; a plain string can only come from an override."""
        if isinstance(value, str):
            return value
        if not isinstance(value, Mapping):
            raise ActivityFailed(
                f"{path} has no secret that can be read here", "override it", code="NoCredential", retriable=False
            )
        if value.get("type") == "SecureString":
            return str(value["value"])
        vault = self.service(call, value["store"], call.scope(), f"{path}.store")
        key = (
            str(vault.properties["baseUrl"]).rstrip("/"),
            str(value["secretName"]),
            str(value.get("secretVersion") or ""),
        )
        with self._lock:
            if key not in self._secrets:
                self._secrets[key] = self._fetch(*key)
            return self._secrets[key]

    def _fetch(self, url: str, name: str, version: str) -> str:
        from azure.core.exceptions import AzureError, ResourceNotFoundError
        from azure.keyvault.secrets import SecretClient

        try:
            with SecretClient(url, self._credential()) as client:
                found = client.get_secret(name, version or None).value
        except ResourceNotFoundError as error:
            raise ActivityFailed(
                f"Key Vault {url} has no secret {name!r}", "set it, or fix the secretName", code="SecretNotFound"
            ) from error
        except AzureError as error:
            raise ActivityFailed(
                f"Key Vault {url} did not give the secret {name!r}: {_first_line(error)}",
                "may the factory's identity read secrets there?",
                code="KeyVaultError",
            ) from error
        return found or ""

    def _credential(self) -> Any:
        if self.overrides.credential is None:
            raise ActivityFailed(
                "this run has no identity",
                "on the command line: --identity; in Python: Overrides(credential=...)",
                code="NoCredential",
                retriable=False,
            )
        return self.overrides.credential

    def token(self, resource: str) -> str:
        """Return a bearer token of the factory's identity for a resource (audience)."""
        scope = resource if resource.endswith("/.default") else f"{resource.rstrip('/')}/.default"
        with self._lock:
            token, expires = self._tokens.get(scope, ("", 0.0))
            if time.time() + TOKEN_MARGIN_SECONDS < expires:
                return token
        try:
            found = self._credential().get_token(scope)
        except ActivityFailed:
            raise
        except Exception as error:
            raise ActivityFailed(
                f"the identity got no token for {resource}: {_first_line(error)}",
                "is the managed identity there?",
                code="AuthenticationFailed",
            ) from error
        with self._lock:
            self._tokens[scope] = (found.token, float(found.expires_on))
        return str(found.token)

    def blobs(self, call: Evaluates, service: Service) -> BlobServiceClient:
        """Return the client of a storage account: by its connection string, SAS or key, else with the factory's identity."""
        from azure.storage.blob import BlobServiceClient

        given = {
            key: self.secret(call, service.properties[key], key) for key in STORAGE_SECRETS & set(service.properties)
        }
        url = str(service.properties.get("serviceEndpoint") or service.properties.get("url") or "").rstrip("/")
        url = given.get("sasUri", url).replace(".dfs.", ".blob.")
        known = (url, *sorted(given.items()))
        options: dict[str, Any] = {"max_single_get_size": 4 << 20, "max_chunk_get_size": 4 << 20}
        with self._lock:
            if known in self._blobs:
                return self._blobs[known]
            if "encryptedCredential" in service.properties:
                raise ActivityFailed(
                    f"linked service {service.name!r} has a credential that only Azure can read",
                    f"override {service.name}: give serviceEndpoint, connectionString or sasUri",
                    code="NoCredential",
                    retriable=False,
                )
            try:
                if "connectionString" in given:
                    client = BlobServiceClient.from_connection_string(given["connectionString"], **options)
                else:
                    key = given.get("accountKey") or given.get("sasToken")
                    credential = None if "sasUri" in given and not key else key or self._credential()
                    client = BlobServiceClient(url, credential=credential, **options)
            except ValueError as error:  # its text may hold the connection string
                raise ActivityFailed(
                    f"linked service {service.name!r} has no usable address of a storage account",
                    f"override {service.name}: give serviceEndpoint, connectionString or sasUri",
                    code="InvalidConnection",
                    retriable=False,
                ) from error
            self._blobs[known] = client
            return client


def _bound(declared: Mapping[str, Mapping[str, Any]], given: Any, what: str) -> dict[str, Any]:
    try:
        return bind(declared, given, what)
    except InvalidParameters as error:
        raise ActivityFailed(error.message, error.hint, code="BadRequest", retriable=False) from error


def _recheck(properties: Mapping[str, Any], fields: Mapping[str, Any], file: str) -> None:
    """Check values again now that expressions have become values."""
    for path, message, _ in check_fields(properties, fields, "", evaluated=True):
        raise ActivityFailed(f"{file}: {path}: {message}", code="InvalidTemplate", retriable=False)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

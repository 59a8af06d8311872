"""Small factories made in memory, and what the tests say about the real services they reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from adf_runner import Overrides
from local.azurite import Azurite
from local.key_vault.server import KeyVault
from local.postgres import Postgres
from local.sftp import PartnerSftp

Documents = dict[str, Any]


def expression(text: str) -> dict[str, str]:
    return {"type": "Expression", "value": text}


def after(name: str, *conditions: str) -> list[dict[str, Any]]:
    return [{"activity": name, "dependencyConditions": list(conditions or ("Succeeded",))}]


def activity(name: str, kind: str, properties: dict[str, Any] | None = None, **outer: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "typeProperties": properties or {}, **outer}


def set_variable(name: str, variable: str, value: Any, **outer: Any) -> dict[str, Any]:
    return activity(name, "SetVariable", {"variableName": variable, "value": value}, **outer)


def pipeline(activities: list[dict[str, Any]], **properties: Any) -> Documents:
    return {"pipeline/main.json": {"name": "main", "properties": {"activities": activities, **properties}}}


@dataclass
class Pauses:
    """A sleep that only notes how long it was asked to wait."""

    asked: list[float]

    def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Storage, vault, warehouse and partner, and the linked services that reach them."""

    azurite: Azurite
    vault: KeyVault
    postgres: Postgres
    sftp: PartnerSftp
    credential: DefaultAzureCredential
    container: ContainerClient
    environment: dict[str, str]

    def overrides(self, **linked_services: dict[str, Any]) -> Overrides:
        return Overrides(
            credential=self.credential,
            sleep=lambda _seconds: None,
            linked_services={
                "vault": {"baseUrl": self.vault.url},
                "storage": {"serviceEndpoint": self.azurite.blob_url("sealiftraw")},
                "warehouse": {
                    "server": self.postgres.host,
                    "port": self.postgres.port,
                    "database": self.postgres.database,
                    "username": self.postgres.user,
                    "sslMode": 0,
                },
                "partner": {
                    "host": self.sftp.host,
                    "port": self.sftp.port,
                    "userName": self.sftp.user,
                    "hostKeyFingerprint": self.sftp.host_key_md5,
                },
                **linked_services,
            },
        )

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.postgres.dsn(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def blob(self, path: str) -> bytes:
        return self.container.download_blob(path).readall()


def secret(name: str) -> dict[str, Any]:
    store = {"referenceName": "vault", "type": "LinkedServiceReference"}
    return {"type": "AzureKeyVaultSecret", "store": store, "secretName": name}


def linked_service(name: str, kind: str, properties: dict[str, Any], **outer: Any) -> Documents:
    document = {"name": name, "properties": {"type": kind, **outer, "typeProperties": properties}}
    return {f"linkedService/{name}.json": document}


def dataset(name: str, kind: str, service: str, properties: dict[str, Any], **outer: Any) -> Documents:
    reference = {"referenceName": service, "type": "LinkedServiceReference"}
    document = {
        "name": name,
        "properties": {"type": kind, "linkedServiceName": reference, "typeProperties": properties, **outer},
    }
    return {f"dataset/{name}.json": document}


def to(name: str, **parameters: Any) -> dict[str, Any]:
    return {"referenceName": name, "type": "DatasetReference", **({"parameters": parameters} if parameters else {})}


SERVICES: Documents = (
    linked_service("vault", "AzureKeyVault", {"baseUrl": "https://vault.example"})
    | linked_service(
        "storage", "AzureBlobStorage", {"serviceEndpoint": "https://storage.example", "accountKind": "StorageV2"}
    )
    | linked_service(
        "warehouse",
        "AzurePostgreSql",
        {
            "server": "db.example",
            "database": "d",
            "username": "u",
            "password": secret("warehouse-password"),
            "sslMode": 5,
        },
        version="2.0",
    )
    | linked_service(
        "partner",
        "Sftp",
        {
            "host": "sftp.example",
            "authenticationType": "SshPublicKey",
            "userName": "u",
            "privateKeyContent": secret("partner-sftp-key"),
            "hostKeyFingerprint": "ssh-rsa 2048 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
        },
    )
)
PATHS = {
    "parameters": {"folder": {"type": "string", "defaultValue": ""}, "file": {"type": "string", "defaultValue": ""}}
}


def blob_location(container: str = "raw") -> dict[str, Any]:
    return {
        "type": "AzureBlobStorageLocation",
        "container": container,
        "folderPath": expression("@dataset().folder"),
        "fileName": expression("@dataset().file"),
    }


def sftp_location() -> dict[str, Any]:
    return {
        "type": "SftpLocation",
        "folderPath": expression("@dataset().folder"),
        "fileName": expression("@dataset().file"),
    }

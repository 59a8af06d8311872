"""The cloud and the partner on one machine: starts every service that the system has on Azure, wired as infra/ wires it.

Each service is real software or speaks the real protocol (local/). Only addresses and credentials differ from Azure:
the deployed code cannot tell. Everything listens on 127.0.0.1, on free ports, below one temporary folder, and stops with us.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adf_runner import Overrides
from infra.partner_secrets import derive
from local.azurite import Azurite
from local.container_groups.server import GROUP_ID, ContainerGroups
from local.functions_host.host import FunctionHost
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.openpgp_desk import Desk
from local.partner import PartnerHome, self_signed
from local.postgres import Postgres
from local.sftp import PartnerSftp
from local.wire.certificates import CertificateAuthority
from local.wire.processes import TemporaryFolder
from partners import Partner, load_partners
from partners.loading import FOLDER

ROOT = Path(__file__).resolve().parent.parent
RAW, ENCRYPTED, HOST = "sealiftraw", "sealiftencrypted", "sealifthost"
CONTAINERS = {RAW: ("raw",), ENCRYPTED: ("encrypted", "batches"), HOST: ("dbt",)}
QUEUES = ("seal", "seal-poison", "deliver", "deliver-poison")

# Polls that wait half a minute on Azure wait this long here.
LONGEST_WAIT_SECONDS = 0.3

Ready = Callable[[str, float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What differs for Data Factory between this machine and Azure: addresses, credentials, and waiting."""

    environment: dict[str, str] = field(repr=False)
    operator: dict[str, str] = field(repr=False)
    global_parameters: dict[str, Any]
    linked_services: dict[str, dict[str, Any]]
    function_url: str
    function_key: str = field(repr=False)
    accounts: list[str]
    folder: str
    owner: int  # the process that runs the services

    def overrides(self) -> Overrides:
        """Return the overrides of a pipeline run; this process must have `environment` by now."""
        return Overrides(
            global_parameters=self.global_parameters,
            linked_services=self.linked_services,
            credential=DefaultAzureCredential(),
            sleep=lambda seconds: time.sleep(min(seconds, LONGEST_WAIT_SECONDS)),
        )

    def write(self, path: Path) -> None:
        """Write the connection for other processes of this user; it holds this run's secrets. Raises FileExistsError."""
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        try:
            draft.write_text(json.dumps(asdict(self)))
            path.hardlink_to(draft)  # whole from its first moment, and never over another's
        finally:
            draft.unlink()

    @classmethod
    def read(cls, path: Path) -> Connection:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text()))


class Stack:
    """A context manager: `with Stack() as stack`. `on_ready(name, seconds, address)` hears of each service that is up."""

    def __init__(
        self,
        on_ready: Ready = lambda _name, _seconds, _address: None,
        *,
        partner_files: Path = FOLDER,
        databases: Mapping[str, Any] | None = None,
    ) -> None:
        """`databases` says how Data Factory signs in to SQL Servers of `sources.yaml` here, where it has no identity."""
        place = TemporaryFolder()
        self.folder = place.path
        self._on_ready = on_ready
        self._exit = ExitStack()
        self._exit.callback(place.close)
        self.ca = CertificateAuthority(self.folder / "tls")
        self.identity = IdentityEndpoint()
        self.postgres = Postgres(self.folder / "postgres")
        self.azurite = Azurite(self.folder / "azurite", self.ca)
        self.vault = KeyVault(self.ca, self.identity, folder=self.folder / "vault")
        self.function_key = secrets.token_urlsafe(32)
        self._partner_files, self._databases = partner_files, dict(databases or {})
        self.files = {partner.name: partner for partner in load_partners(folder=partner_files)}
        self._servers = {name: self._server(partner) for name, partner in self.files.items()}
        self.secrets = derive(partner_files)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs and remove the folder."""
        self._exit.close()

    @cached_property
    def partners(self) -> dict[str, PartnerHome]:
        """The partners of the files, each with keys of its own, which are made when they are first asked for."""
        return {name: self._home(partner) for name, partner in self.files.items()}

    def _start(self) -> None:
        self._up("managed identity", self.identity)
        with ThreadPoolExecutor() as pool:
            services: dict[str, Any] = {
                "PostgreSQL": self.postgres,
                "Azure Storage": self.azurite,
                "Key Vault": self.vault,
            } | {f"{name}'s SFTP server": server for name, server in self._servers.items()}
            started: list[Future[None]] = [pool.submit(self._up, name, service) for name, service in services.items()]
            # The partners' keys are made meanwhile: that takes this process a second, and the services wait for others.
            assert self.partners
        for future in started:
            future.result()
        self._become("data-factory")
        self._make_containers()
        self.groups = ContainerGroups(self.ca, self.identity, self.folder / "container-groups")
        self.function = FunctionHost(
            ROOT,
            self._app_settings(),
            {"default": self.function_key},
            folder=self.folder / "function",
            most_poll_seconds=LONGEST_WAIT_SECONDS,
        )
        with ThreadPoolExecutor(2) as pool:
            last = [
                pool.submit(self._up, "container groups", self.groups),
                pool.submit(self._up, "function host", self.function),
            ]
            self._fill_vault()  # as above; nobody reads it before a batch does
        for future in last:
            future.result()
        self.groups.put_group(self._dbt_group(), GROUP_ID, starts=False)

    def _up(self, name: str, service: Any) -> None:
        began = time.monotonic()
        self._exit.enter_context(service)
        address = getattr(service, "url", None) or f"127.0.0.1:{getattr(service, 'port', '')}"
        if isinstance(service, Azurite):
            address = service.blob_url(RAW).rpartition("/")[0]
        self._on_ready(name, time.monotonic() - began, address)

    def environment(self, principal: str) -> dict[str, str]:
        """Return what a process needs to be this principal and to trust the services' certificates."""
        return self.ca.environment | self.identity.environment(principal)

    def container(self, name: str) -> ContainerClient:
        """Return a container by name, opened with the credential of this process."""
        account = next(account for account, names in CONTAINERS.items() if name in names)
        service = BlobServiceClient(self.azurite.blob_url(account), DefaultAzureCredential())
        return service.get_container_client(name)

    def connection(self) -> Connection:
        """Return what another process needs to run pipelines on these services."""
        return Connection(
            environment=self.environment("data-factory"),
            operator=self.environment("operator")
            | {"KEY_VAULT_URL": self.vault.url, "PARTNER_SFTP": self._addresses()},
            global_parameters={
                "resourceManagerUrl": self.groups.url,
                "containerGroupId": GROUP_ID,
                "dbtStorageUrl": self.azurite.blob_url(HOST),
                "pollSeconds": 1,
            },
            linked_services={
                "key_vault": {"baseUrl": self.vault.url},
                "warehouse": {
                    "server": self.postgres.host,
                    "port": self.postgres.port,
                    "database": self.postgres.database,
                    "username": self.postgres.user,
                    "sslMode": 0,
                },
                "raw_storage": {"serviceEndpoint": self.azurite.blob_url(RAW)},
                "encrypted_storage": {"serviceEndpoint": self.azurite.blob_url(ENCRYPTED)},
                "function_app": {"functionAppUrl": self.function.url},
                **{name: self._databases for name in ("azure_sql", "sql_server") if self._databases},
            },
            function_url=self.function.url,
            function_key=self.function_key,
            accounts=[f"{self.azurite.blob_url(name)} {self.azurite.queue_url(name)}" for name in CONTAINERS],
            folder=str(self.folder),
            owner=os.getpid(),
        )

    def verification_certificate(self) -> bytes:
        """Return the certificate (PEM) that the company gives its partners: manifests are verified with it."""
        certificate = self.vault.store.certificate("sealift-signing", self.vault.url)["cer"]
        return x509.load_der_x509_certificate(base64.b64decode(certificate)).public_bytes(serialization.Encoding.PEM)

    def set_partner_certificate(self, partner: str, certificate: bytes) -> None:
        """Put a partner's public certificate into the vault, as the operator does when a partner is taken on."""
        self.vault.set_secret(self.files[partner].certificate, certificate.decode(), "application/x-pem-file")

    def _server(self, partner: Partner) -> PartnerSftp:
        folder = self.folder / "partners" / partner.name / "sftp"
        password = secrets.token_urlsafe(24) if partner.sftp.password else None
        return PartnerSftp(folder, user=partner.sftp.user, password=password)

    def _home(self, partner: Partner) -> PartnerHome:
        takes_pgp = any(feed.format == "openpgp" for feed in partner.feeds.values())
        return PartnerHome(
            name=partner.name,
            inboxes={name: feed.folder for name, feed in partner.feeds.items()},
            folder=self.folder / "partners" / partner.name,
            server=self._servers[partner.name],
            key=rsa.generate_private_key(65537, 3072),
            desk=Desk.make(partner.title, datetime.now(UTC) - timedelta(days=1)) if takes_pgp else None,
        )

    def _become(self, principal: str) -> None:
        """Be this principal while the stack is up: the executor runs in this process."""
        before = dict(os.environ)
        os.environ.update(self.environment(principal))

        def restore() -> None:
            os.environ.clear()
            os.environ.update(before)

        self._exit.callback(restore)

    def _fill_vault(self) -> None:
        keys = ("sealift-signing", "sealift-openpgp", "sealift-smime")
        # What the template grants, and nothing else: a secret that it does not grant is refused here too.
        readers = {who: [each.name for each in self.secrets if who in each.readers] for who in ("app", "factory")}
        self.vault.allow("function-app", secrets=("alert-webhook", *readers["app"]), keys=keys)
        self.vault.allow("data-factory", secrets=("function-key", "warehouse-password", *readers["factory"]))
        self.vault.allow("operator", secrets=[each.name for each in self.secrets], keys=keys)
        for key in keys:
            self.vault.create_key(key)
        self.vault.set_secret("function-key", self.function_key)
        self.vault.set_secret("warehouse-password", self.postgres.password)
        for partner in self.partners.values():
            self.set_partner_certificate(partner.name, partner.certificate())
            self._let_us_in(partner)
        for name in filter(None, (partner.escrow_certificate for partner in self.files.values())):
            company = self_signed(rsa.generate_private_key(65537, 3072), "escrow")
            pem = company.public_bytes(serialization.Encoding.PEM).decode()
            self.vault.set_secret(name, pem, "application/x-pem-file")

    def _let_us_in(self, partner: PartnerHome) -> None:
        """Agree on the secrets of a partner's file: our key for SFTP, in the form that Data Factory wants, or a password."""
        sftp = self.files[partner.name].sftp
        if sftp.private_key:
            key = rsa.generate_private_key(65537, 3072)
            form, none = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            pem = key.private_bytes(serialization.Encoding.PEM, form, none)
            self.vault.set_secret(sftp.private_key, base64.b64encode(pem).decode())
            partner.server.add_key(key.public_key())
        if sftp.password and partner.server.password:
            self.vault.set_secret(sftp.password, partner.server.password)
        for feed in partner.inboxes:
            (partner.inbox_of(feed) / "answers").mkdir(parents=True, exist_ok=True)

    def _make_containers(self) -> None:
        credential = DefaultAzureCredential()
        for account, names in CONTAINERS.items():
            service = BlobServiceClient(self.azurite.blob_url(account), credential)
            for name in names:
                service.create_container(name)
        queues = QueueServiceClient(self.azurite.queue_url(HOST), credential)
        for name in QUEUES:
            queues.create_queue(name)

    def _addresses(self) -> str:
        """Return the setting that points the partners' files at the servers of this machine."""
        addresses = {
            name: {"host": server.host, "port": server.port, "host_keys": [server.host_key_line]}
            for name, server in self._servers.items()
        }
        return json.dumps(addresses)

    def _app_settings(self) -> dict[str, str]:
        return self.environment("function-app") | {
            "AzureWebJobsStorage__blobServiceUri": self.azurite.blob_url(HOST),
            "AzureWebJobsStorage__queueServiceUri": self.azurite.queue_url(HOST),
            "AzureWebJobsStorage__credential": "managedidentity",
            "RawStorage__blobServiceUri": self.azurite.blob_url(RAW),
            "EncryptedStorage__blobServiceUri": self.azurite.blob_url(ENCRYPTED),
            "KEY_VAULT_URL": self.vault.url,
            "PARTNER_SFTP": self._addresses(),
            "PARTNERS_FOLDER": str(self._partner_files),
            "MONITOR": "on",
        }

    def _dbt_group(self) -> dict[str, Any]:
        """Return the container group as infra/ defines it."""
        settings = {
            "PGHOST": self.postgres.host,
            "PGPORT": str(self.postgres.port),
            "PGUSER": self.postgres.user,
            "PGDATABASE": self.postgres.database,
            "PGSSLMODE": "disable",
            "ARTIFACTS_URL": f"{self.azurite.blob_url(HOST)}/dbt",
        }
        variables: list[dict[str, str]] = [{"name": name, "value": value} for name, value in settings.items()]
        variables.append({"name": "DBT_ENV_SECRET_PG_PASSWORD", "secureValue": self.postgres.password})
        return {
            "location": "westeurope",
            "properties": {
                "osType": "Linux",
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "dbt",
                        "properties": {
                            "image": "sealift.azurecr.io/dbt:local",
                            "environmentVariables": variables,
                            "resources": {"requests": {"cpu": 1, "memoryInGB": 2}},
                        },
                    }
                ],
            },
        }

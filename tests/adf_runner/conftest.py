"""The real services that connectors are tested against, each started once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from factory_support import Cloud, Documents, Pauses

from adf_runner import Overrides, PipelineRun, factory_from_documents, run_pipeline
from local.azurite import Azurite
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.postgres import Postgres
from local.sftp import PartnerSftp
from local.wire.certificates import CertificateAuthority


@pytest.fixture
def pauses() -> Pauses:
    return Pauses([])


@pytest.fixture
def run(pauses: Pauses) -> Callable[..., PipelineRun]:
    """Run the pipeline `main` of some documents without waiting."""

    def run_main(documents: Documents, parameters: dict[str, Any] | None = None, **options: Any) -> PipelineRun:
        options.setdefault("overrides", Overrides(sleep=pauses))
        return run_pipeline(factory_from_documents(documents), "main", parameters or {}, **options)

    return run_main


@pytest.fixture(scope="session")
def session_cloud(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, identity: IdentityEndpoint
) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    key = rsa.generate_private_key(65537, 3072)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    with (
        Azurite(folder / "azurite", authority, in_memory=True) as azurite,
        KeyVault(authority, identity, folder=folder / "vault") as vault,
        Postgres(folder / "postgres") as postgres,
        PartnerSftp(folder / "sftp") as sftp,
        pytest.MonkeyPatch.context() as patch,
    ):
        sftp.add_key(key.public_key())
        vault.allow("data-factory", secrets=("*",))
        vault.set_secret("warehouse-password", postgres.password)
        vault.set_secret("partner-sftp-key", base64.b64encode(pem).decode())
        environment = authority.environment | identity.environment("data-factory")
        for name, value in environment.items():
            patch.setenv(name, value)
        with (
            DefaultAzureCredential() as credential,
            BlobServiceClient(azurite.blob_url("sealiftraw"), credential=credential) as service,
        ):
            container = service.create_container("raw")
            patch.undo()
            yield Cloud(
                azurite=azurite, vault=vault, postgres=postgres, sftp=sftp, credential=credential, container=container,
                environment=environment,
            )  # fmt: skip


@pytest.fixture
def cloud(session_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Be Data Factory's identity for one test."""
    for name, value in session_cloud.environment.items():
        monkeypatch.setenv(name, value)
    return session_cloud

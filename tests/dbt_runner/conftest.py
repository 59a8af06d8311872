"""A warehouse, blob storage and container groups for the tests of dbt: real services, each started once."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobLeaseClient, ContainerClient
from dbt_site import PROJECT, PYTHON, TRANSACTIONS, Runner, Site, bake_parse

from local import sample_data
from local.azurite import Azurite
from local.container_groups.server import ContainerGroups
from local.key_vault.identity import IdentityEndpoint
from local.postgres import Postgres
from local.wire.certificates import CertificateAuthority


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, identity: IdentityEndpoint
) -> Iterator[Site]:
    if not PYTHON.exists():
        pytest.skip("dbt is not installed; ./sealift makes .venv-dbt on first use")
    folder = tmp_path_factory.mktemp("dbt")
    with Postgres(folder / "postgres") as postgres, Azurite(folder / "azurite", authority, in_memory=True) as azurite:
        project = Path(
            shutil.copytree(PROJECT, folder / "project", ignore=shutil.ignore_patterns("target", "logs", ".sqlfluff*"))
        )
        site = Site(ca=authority, identity=identity, postgres=postgres, azurite=azurite, folder=folder, project=project)
        sample_data.load(site.dsn, TRANSACTIONS)
        yield site


@pytest.fixture(scope="session")
def built(site: Site) -> None:
    """Let every model be there, and the project carry dbt's parse."""
    bake_parse(site)


@pytest.fixture
def as_factory(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be the data factory."""
    for name, value in (site.ca.environment | site.identity.environment("data-factory")).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def container(site: Site, as_factory: None) -> ContainerClient:
    """Return the artifacts' container, empty."""
    client = ContainerClient.from_container_url(site.artifacts_url, credential=DefaultAzureCredential())
    if client.exists():
        for blob in client.list_blobs():
            lease = client.get_blob_client(blob.name)
            if blob.lease.state == "leased":
                BlobLeaseClient(lease).break_lease(0)
            lease.delete_blob()
    else:
        client.create_container()
    return client


@pytest.fixture
def run_dbt(site: Site, built: None) -> Iterator[Runner]:
    runner = Runner(site=site)
    yield runner
    runner.end()


@pytest.fixture
def ask(container: ContainerClient) -> Callable[..., str]:
    """Return a function that writes a request and returns its run id."""

    def write(**content: Any) -> str:
        run_id = content.setdefault("run_id", str(uuid.uuid4()))
        container.upload_blob(f"requests/{run_id}.json", json.dumps(content), overwrite=True)
        return str(run_id)

    return write


@pytest.fixture
def groups(site: Site) -> Iterator[ContainerGroups]:
    with ContainerGroups(site.ca, site.identity, site.folder / f"groups-{uuid.uuid4()}") as running:
        yield running


@pytest.fixture
def project(site: Site, built: None, tmp_path: Path) -> Path:
    """Return a copy of the project, to be broken."""
    return Path(shutil.copytree(site.project, tmp_path / "project"))

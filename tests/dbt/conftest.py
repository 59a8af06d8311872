"""A warehouse, blob storage and container groups for the tests of dbt: real services, each started once."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from local import sample_data
from local.services.azurite import Azurite
from local.services.certificates import CertificateAuthority
from local.services.container_groups import ContainerGroups
from local.services.identity import IdentityEndpoint
from local.services.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-dbt" / "bin" / "python"
TRANSACTIONS = 2000


@dataclass(frozen=True, kw_only=True)
class Site:
    """The services that dbt meets, and what a container needs to find them."""

    ca: CertificateAuthority
    identity: IdentityEndpoint
    postgres: Postgres
    azurite: Azurite
    folder: Path

    @property
    def artifacts_url(self) -> str:
        return f"{self.azurite.blob_url('sealifthost')}/dbt"

    @property
    def dsn(self) -> str:
        return self.postgres.dsn()

    @property
    def settings(self) -> dict[str, str]:
        """Return what the container group's definition says, but for the password."""
        return {
            "PGHOST": self.postgres.host,
            "PGPORT": str(self.postgres.port),
            "PGUSER": self.postgres.user,
            "PGDATABASE": self.postgres.database,
            "ARTIFACTS_URL": self.artifacts_url,
        }

    @property
    def secrets(self) -> dict[str, str]:
        return {"DBT_ENV_SECRET_PG_PASSWORD": self.postgres.password}

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, identity: IdentityEndpoint
) -> Iterator[Site]:
    if not PYTHON.exists():
        pytest.skip("dbt is not installed; ./sealift makes .venv-dbt on first use")
    folder = tmp_path_factory.mktemp("dbt")
    with Postgres(folder / "postgres") as postgres, Azurite(folder / "azurite", authority, in_memory=True) as azurite:
        site = Site(ca=authority, identity=identity, postgres=postgres, azurite=azurite, folder=folder)
        sample_data.load(site.dsn, TRANSACTIONS)
        yield site


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
                from azure.storage.blob import BlobLeaseClient

                BlobLeaseClient(lease).break_lease(0)
            lease.delete_blob()
    else:
        client.create_container()
    return client


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a process of the runner ended."""

    code: int
    output: str
    errors: str

    @property
    def summary(self) -> dict[str, Any]:
        last: dict[str, Any] = json.loads(self.output.strip().splitlines()[-1])
        return last


@dataclass(kw_only=True)
class Runner:
    """Starts the container's entry point as the platform would, with nothing of this shell's environment."""

    site: Site
    extra: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        identity = self.site.ca.environment | self.site.identity.environment("dbt")
        return keep | identity | self.site.settings | self.site.secrets | self.extra | more

    def popen(self, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(PYTHON), "-m", "dbt_runner"],
            cwd=ROOT,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, **more: str) -> Ran:
        process = self.popen(**more)
        output, errors = process.communicate(timeout=120)
        return Ran(code=process.returncode, output=output, errors=errors)


@pytest.fixture
def run_dbt(site: Site) -> Runner:
    return Runner(site=site)


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


def group_definition(site: Site, command: list[str] | None = None, **settings: str) -> dict[str, Any]:
    """Return a container group as infra/ defines it."""
    variables: list[dict[str, str]] = [
        {"name": name, "value": value} for name, value in (site.settings | settings).items()
    ]
    variables += [{"name": name, "secureValue": value} for name, value in site.secrets.items()]
    inside: dict[str, Any] = {
        "image": "sealift.azurecr.io/dbt@sha256:" + "0" * 64,
        "environmentVariables": variables,
        "resources": {"requests": {"cpu": 1, "memoryInGB": 1}},
    }
    if command is not None:
        inside["command"] = command
    return {
        "location": "westeurope",
        "properties": {
            "osType": "Linux",
            "restartPolicy": "Never",
            "containers": [{"name": "dbt", "properties": inside}],
        },
    }

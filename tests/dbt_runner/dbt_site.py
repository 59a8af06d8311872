"""What the tests of dbt share: the services that dbt meets, and ways to start the container's entry point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from local.azurite import Azurite
from local.key_vault.identity import IdentityEndpoint
from local.postgres import Postgres
from local.wire.certificates import CertificateAuthority

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "dbt_runner" / "project"
PYTHON = ROOT / ".venv-dbt" / "bin" / "python"
TRANSACTIONS = 2000
# The quickest thing to build.
ONE = "stg_loyalty__members"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The services that dbt meets, and what a container needs to find them."""

    ca: CertificateAuthority
    identity: IdentityEndpoint
    postgres: Postgres
    azurite: Azurite
    folder: Path
    project: Path

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
            "DBT_PROJECT_DIR": str(self.project),
        }

    @property
    def secrets(self) -> dict[str, str]:
        return {"DBT_ENV_SECRET_PG_PASSWORD": self.postgres.password}

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


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
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        identity = self.site.ca.environment | self.site.identity.environment("dbt")
        return keep | identity | self.site.settings | self.site.secrets | more

    def popen(self, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(PYTHON), "-m", "dbt_runner"],
            cwd=ROOT,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what a failed test has left."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def __call__(self, **more: str) -> Ran:
        process = self.popen(**more)
        output, errors = process.communicate(timeout=300)
        return Ran(code=process.returncode, output=output, errors=errors)


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


def bake_parse(site: Site) -> None:
    """Build everything once, and keep dbt's parse in the project as the image does: later runs start quicker."""
    work = site.folder / "work"
    built = Runner(site=site)(ARTIFACTS_URL="", REQUEST='{"run_id": "first-build"}', WORK_DIR=str(work))
    assert built.code == 0, built.output + built.errors
    (site.project / "target").mkdir()
    shutil.copy(work / "target" / "partial_parse.msgpack", site.project / "target")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def make_endless(project: Path) -> None:
    """Let the model ONE run for ever, so that it surely runs when the process is asked to stop."""
    file = project / "models" / "staging" / f"{ONE}.sql"
    edit(file, "from source", "from source, pg_sleep(600)")
    file.write_text("{{ config(materialized='table') }}\n" + file.read_text())


# The session of an earlier question ends a moment after its connection was closed, and its text names pg_sleep too.
_ENDLESS = "from pg_stat_activity where query like '%pg_sleep(600)%' and query not like '%pg_stat_activity%' and state = 'active'"


def endless_queries(site: Site) -> int:
    return int(site.execute(f"select count(*) {_ENDLESS}")[0][0])


def end_queries(site: Site) -> None:
    site.execute(f"select pg_terminate_backend(pid) {_ENDLESS}")


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Poll a condition that another process brings about."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "the condition did not come about"
        time.sleep(0.02)

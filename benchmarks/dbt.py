"""How quick a run of dbt is in the runner, as ratios against dbt's own command line, measured in turn in one go.

Both sides begin as a container does: the image's files, no target folder of an earlier run, byte code compiled, nothing in
the way of a network. What the runner brings back from storage (the last good run's parse) is part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import sample_data
from local.azurite import Azurite
from local.key_vault.identity import IdentityEndpoint
from local.postgres import Postgres
from local.wire.certificates import CertificateAuthority

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv-dbt" / "bin"
PROJECT = ROOT / "dbt_runner" / "project"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    first_node: float
    total: float
    peak_mb: float
    last_line: str


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("sealift bench dbt", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20_000, help="card transactions in the sample warehouse")
    arguments = parser.parse_args(argv)
    with _site(arguments.rows) as environment:
        bench = Bench(environment)
        bench.runner({})  # leaves the state that later runs restore
        warm = [(bench.command_line(["build"]), bench.runner({})) for _ in range(arguments.rounds)]
        commands = [["source", "freshness"], ["build"], ["docs", "generate", "--static"]]
        both = [
            (bench.command_lines(commands), bench.runner({"freshness": True, "docs": True}).total)
            for _ in range(arguments.rounds)
        ]
        imports = [bench.import_seconds() for _ in range(arguments.rounds)]
    first_cli, first_runner = _median(cli.first_node for cli, _ in warm), _median(run.first_node for _, run in warm)
    three, one = _median(cli for cli, _ in both), _median(run for _, run in both)
    overhead = _median(map(_outside_dbt, [run for _, run in warm])) - _median(imports)
    peak = max(run.peak_mb for _, run in warm)
    print(f"dbt on {os.cpu_count()} cores, {arguments.rounds} rounds, medians")
    good = [
        _row("first node", f"dbt {first_cli:.2f} s", f"runner {first_runner:.2f} s", first_cli / first_runner, 1.3),
        _row("freshness, build, docs", f"3 x dbt {three:.2f} s", f"runner {one:.2f} s", three / one, 1.6),
    ]
    print(f"  runner's own time beside dbt  {overhead:.2f} s (at most 1.5)")
    print(f"  peak memory                   {peak:.0f} MB (at most 250)")
    return 0 if all(good) and overhead < 1.5 and peak < 250 else 1


def _row(what: str, peer: str, ours: str, ratio: float, at_least: float) -> bool:
    print(f"  {what:<28}  {peer:<18} {ours:<16} {ratio:.2f}x (at least {at_least}x)")
    return ratio >= at_least


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _outside_dbt(run: Timed) -> float:
    """Return what passed before dbt was called and after it ended; dbt's import is among it."""
    timings = json.loads(run.last_line)["timings"]
    return float(timings["ready"] + run.total - timings["dbt_ended"])


class Bench:
    """Starts dbt's command line and the runner, each in a fresh folder, as a container would."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def command_line(self, arguments: list[str], target: Path | None = None) -> Timed:
        """Run one dbt command; the first node is when dbt says that it starts it."""
        folder = target or Path(tempfile.mkdtemp(prefix="bench-"))
        command = [str(BIN / "dbt"), "--no-version-check", *arguments, "--project-dir", str(PROJECT)]
        command += ["--profiles-dir", str(PROJECT), "--target-path", str(folder), "--log-path", str(folder / "logs")]
        try:
            return _time(command, self.environment, lambda line: " START " in line)
        finally:
            if target is None:
                shutil.rmtree(folder)

    def import_seconds(self) -> float:
        """Return how long a process takes that does nothing but import dbt."""
        return _time([str(BIN / "python"), "-c", "import dbt.cli.main"], self.environment, lambda _line: False).total

    def command_lines(self, commands: list[list[str]]) -> float:
        """Run several dbt commands one after the other in one container; return the seconds."""
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        began = time.monotonic()
        for command in commands:
            self.command_line(command, folder)
        took = time.monotonic() - began
        shutil.rmtree(folder)
        return took

    def runner(self, request: dict[str, object]) -> Timed:
        """Run the container's entry point."""
        folder = tempfile.mkdtemp(prefix="bench-")
        content = {"run_id": str(uuid.uuid4())} | request
        environment = self.environment | {"REQUEST": json.dumps(content), "WORK_DIR": folder}
        try:
            return _time([str(BIN / "python"), "-m", "dbt_runner"], environment, lambda line: "first node" in line)
        finally:
            shutil.rmtree(folder)


def _time(command: list[str], environment: dict[str, str], is_first: Callable[[str], bool]) -> Timed:
    began = time.monotonic()
    first, line = 0.0, ""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if not first and is_first(line):
            first = time.monotonic() - began
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {line}")
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Timed(first_node=first, total=time.monotonic() - began, peak_mb=peak_bytes / 1e6, last_line=line)


@contextmanager
def _site(rows: int) -> Iterator[dict[str, str]]:
    """Give the environment of a container that finds a warehouse, storage and an identity."""
    from azure.core.credentials import AccessToken
    from azure.storage.blob import BlobServiceClient

    folder = Path(tempfile.mkdtemp(prefix="bench-dbt-"))
    authority = CertificateAuthority(folder / "tls")
    with (
        IdentityEndpoint() as identity,
        Postgres(folder / "postgres") as postgres,
        Azurite(folder / "azurite", authority, in_memory=True) as azurite,
    ):
        sample_data.load(postgres.dsn(), rows)
        token = AccessToken(*identity.token("operator", "https://storage.azure.com"))

        class Operator:
            def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
                return token

        service = BlobServiceClient(
            azurite.blob_url("sealifthost"), credential=Operator(), connection_verify=str(authority.bundle)
        )
        service.create_container("dbt")
        yield {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONUNBUFFERED": "1",
            "DO_NOT_TRACK": "1",
            "PGHOST": postgres.host,
            "PGPORT": str(postgres.port),
            "PGUSER": postgres.user,
            "PGDATABASE": postgres.database,
            "DBT_ENV_SECRET_PG_PASSWORD": postgres.password,
            "ARTIFACTS_URL": f"{azurite.blob_url('sealifthost')}/dbt",
            **authority.environment,
            **identity.environment("dbt"),
        }
    shutil.rmtree(folder, ignore_errors=True)

"""`./sealift dbt run | runs | show | docs | image`: dbt on demand, seen from a laptop.

`run` executes adf/pipeline/run_dbt.json on local services (those of `./sealift demo --keep` if they are up) and keeps the
run's artifacts below out/dbt/. The other verbs look into those services while they are up, else there, or with --artifacts
into the container on Azure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adf_runner import load_factory
from cli import console
from cli.console import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from azure.storage.blob import ContainerClient

    from local.stack import Connection

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ROOT / "out" / "dbt"
# The name that the local container group asks for: with SEALIFT_CONTAINER_ENGINE=podman the image itself is run.
IMAGE = "sealift.azurecr.io/dbt:local"
ENGINES = ("podman", "docker", "az")


class DbtRefused(CommandFailed):
    """What was asked of `./sealift dbt` cannot be done."""


def main(argv: list[str]) -> int:
    """Run one verb; exit 0 when it did what was asked, and for `run` only when dbt was green."""
    arguments = _parser().parse_args(argv)
    code: int = arguments.verb(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("sealift dbt", description="dbt on demand")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = verbs.add_parser("run", help="run dbt in its container group and show the verdict")
    run.set_defaults(verb=_run)
    commands = ("build", "run", "test", "retry", "freshness", "docs")
    run.add_argument("--command", default="build", choices=commands, help="dbt's own command (build)")
    run.add_argument("--select", default="", metavar="SELECTORS", help="dbt selectors; all when left out")
    run.add_argument("--exclude", default="", metavar="SELECTORS", help="dbt selectors of what to leave out")
    run.add_argument("--full-refresh", action="store_true", help="build incremental models from nothing")
    run.add_argument("--modified", action="store_true", help="build only what differs from the last good build")
    run.add_argument("--freshness", action="store_true", help="build nothing when a source is too old")
    run.add_argument("--docs", action="store_true", help="make the static site too")
    run.add_argument(
        "--rows", type=int, default=100_000, metavar="N", help="sample transactions of services started anew"
    )
    runs = verbs.add_parser("runs", help="list runs, newest first")
    runs.add_argument("--json", action="store_true", help="print the runs' summaries as JSON")
    runs.set_defaults(verb=_runs)
    show = verbs.add_parser("show", help="show one run")
    show.set_defaults(verb=_show)
    show.add_argument(
        "run", metavar="RUN", nargs="?", default="last", help="a run's id or its beginning; else the newest"
    )
    docs = verbs.add_parser("docs", help="open the static documentation site of a run")
    docs.set_defaults(verb=_docs)
    docs.add_argument("run", metavar="RUN", nargs="?", default="last", help="the newest run that has one, if left out")
    docs.add_argument("--print", action="store_true", dest="only_print", help="print the file's path and open nothing")
    for verb in (runs, show, docs):
        verb.add_argument(
            "--artifacts", metavar="URL", help="https://ACCOUNT.blob.core.windows.net/dbt; else the runs made here"
        )
    image = verbs.add_parser("image", help="build the container image")
    image.set_defaults(verb=_image)
    image.add_argument("--tag", default=IMAGE, help=f"{IMAGE} if left out")
    image.add_argument("--base-image", metavar="IMAGE", help="instead of the one that the Dockerfile pins")
    image.add_argument("--engine", choices=ENGINES, help="the first that is installed, if left out")
    image.add_argument("--registry", metavar="NAME", help="build in this Azure registry (az acr build)")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from adf_runner import run_pipeline
    from cli.run import Narrator, services

    parameters = {
        "command": arguments.command,
        "mode": "modified" if arguments.modified else "full",
        "select": arguments.select,
        "exclude": arguments.exclude,
        "fullRefresh": arguments.full_refresh,
        "freshness": arguments.freshness,
        "docs": arguments.docs,
    }
    factory = load_factory(ROOT / "adf")
    with services(arguments.rows) as connection:
        console.heading("adf/pipeline/run_dbt.json")
        with Narrator() as narrator:
            run = run_pipeline(factory, "run_dbt", parameters, connection.overrides(), on_event=narrator)
        kept = _keep(connection, run.run_id)
    if run.status == "Cancelled":
        raise KeyboardInterrupt
    if kept is None:
        failed = next((each.error for each in run.walk() if each.error), None) or {}
        raise DbtRefused(
            failed.get("message", run.message), "the steps above show where it ended; dbt itself left no verdict"
        )
    _print_summary(kept)
    return 0 if run.succeeded else 1


def _keep(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """Copy a run's artifacts to out/dbt/; return its summary, or None when it left none."""
    from azure.identity import DefaultAzureCredential
    from azure.storage.blob import ContainerClient

    container = ContainerClient.from_container_url(
        f"{connection.global_parameters['dbtStorageUrl']}/dbt", credential=DefaultAzureCredential()
    )
    prefix = f"runs/{run_id}/"
    for blob in container.list_blobs(name_starts_with=prefix):
        file = HISTORY / run_id / blob.name.removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(container.download_blob(blob.name).readall())
    return _read(HISTORY / run_id / "summary.json")


def _runs(arguments: argparse.Namespace) -> int:
    found = list(_source(arguments).summaries())
    found.sort(key=lambda summary: str(summary.get("started", "")), reverse=True)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    if not found:
        console.say("No runs yet; ./sealift dbt run makes one.")
        return 0
    console.table(
        [
            ("run", "left"),
            ("started", "left"),
            ("verdict", "left"),
            ("command", "left"),
            ("seconds", "right"),
            ("", "left"),
        ],
        [
            [
                str(each["run_id"])[:8],
                str(each.get("started", "")),
                str(each["status"]),
                " ".join(filter(None, [str(each.get("command", "")), str(each.get("select", ""))])),
                _seconds(each),
                str(each["message"])[:60],
            ]
            for each in found
        ],
    )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    _print_summary(_source(arguments).find(arguments.run))
    return 0


def _docs(arguments: argparse.Namespace) -> int:
    page = _source(arguments).page(arguments.run)
    console.say(str(page))
    if not arguments.only_print:
        webbrowser.open(page.as_uri())
    return 0


def _image(arguments: argparse.Namespace) -> int:
    command = image_command(arguments.engine, arguments.registry, arguments.tag, arguments.base_image)
    console.say(" ".join(command))
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def image_command(engine: str | None, registry: str | None, tag: str, base_image: str | None = None) -> list[str]:
    """Return the command that builds the image; raise DbtRefused when there is nothing to build it with."""
    if registry or engine == "az":
        if not registry:
            raise DbtRefused("az builds in a registry, and none is named", "add --registry NAME")
        build = ["az", "acr", "build", "--registry", registry, "--image", tag]
    else:
        program = engine or next((name for name in ENGINES[:2] if shutil.which(name)), None)
        if program is None or not shutil.which(program):
            raise DbtRefused(
                f"{program or 'neither podman nor docker'} is installed"
                if program is None
                else f"{program} is not installed",
                "install one, or build in Azure: ./sealift dbt image --registry NAME",
            )
        build = [program, "build", "--tag", tag]
    arguments = ({"BASE_IMAGE": base_image} if base_image else {}) | {"GIT_SHA": _git_sha()}
    build += [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
    return [*build, "--file", "dbt_runner/Dockerfile", "dbt_runner"]


def _git_sha() -> str:
    """Return the commit that is checked out, or nothing outside a repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class _Here:
    """The runs that were made on this machine."""

    folder: Path

    def summaries(self) -> Iterable[dict[str, Any]]:
        found = (_read(file) for file in self.folder.glob("*/summary.json"))
        return [summary for summary in found if summary is not None]

    def find(self, run: str) -> dict[str, Any]:
        return _choose(self.summaries(), run)

    def page(self, run: str) -> Path:
        with_page = [
            each for each in self.summaries() if (self.folder / each["run_id"] / "docs" / "index.html").exists()
        ]
        if not with_page:
            raise DbtRefused("no run here has a documentation site", "./sealift dbt run --docs makes one")
        return self.folder / str(_choose(with_page, run)["run_id"]) / "docs" / "index.html"


@dataclass(frozen=True, slots=True)
class _There:
    """The runs in a blob container."""

    container: ContainerClient

    def summaries(self) -> Iterable[dict[str, Any]]:
        names = [blob.name for blob in self.container.list_blobs(name_starts_with="runs/")]
        return [self._json(name) for name in names if name.endswith("/summary.json")]

    def find(self, run: str) -> dict[str, Any]:
        return _choose(self.summaries(), run)

    def page(self, run: str) -> Path:
        names = {blob.name for blob in self.container.list_blobs(name_starts_with="runs/")}
        with_page = [each for each in self.summaries() if f"runs/{each['run_id']}/docs/index.html" in names]
        if not with_page:
            raise DbtRefused("no run there has a documentation site", "run the pipeline run_dbt with docs = true")
        run_id = str(_choose(with_page, run)["run_id"])
        file = HISTORY / run_id / "docs" / "index.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.container.download_blob(f"runs/{run_id}/docs/index.html").readall())
        return file

    def _json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.container.download_blob(name).readall())
        return content


def _source(arguments: argparse.Namespace) -> _Here | _There:
    from local.kept import kept_services

    url = arguments.artifacts or os.environ.get("ARTIFACTS_URL")
    if not url and (kept := kept_services()):
        os.environ.update(kept.environment)
        url = f"{kept.global_parameters['dbtStorageUrl']}/dbt"
    if not url:
        return _Here(HISTORY)
    if not re.fullmatch(r"https://[^/]+(/[^/]+)?/[^/]+", url):
        raise DbtRefused(f"{url} is not a container's address", "write https://ACCOUNT.blob.core.windows.net/dbt")
    from azure.storage.blob import ContainerClient

    from cli.login import logged_in

    return _There(ContainerClient.from_container_url(url, credential=logged_in()))


def _choose(summaries: Iterable[dict[str, Any]], run: str) -> dict[str, Any]:
    ordered = sorted(summaries, key=lambda summary: str(summary.get("started", "")), reverse=True)
    found = ordered[:1] if run == "last" else [each for each in ordered if str(each["run_id"]).startswith(run)]
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise DbtRefused(f"{what} found for {run!r}", "./sealift dbt runs lists them")
    return found[0]


def _print_summary(summary: dict[str, Any]) -> None:
    """Print a verdict as a person reads it."""
    console.heading(f"{summary['status']}: {summary['message']}")
    facts = {
        "run": summary["run_id"],
        "asked for": " ".join(
            filter(None, [summary.get("command"), summary.get("mode"), summary.get("select") or "everything"])
        ),
        "started": summary.get("started"),
        "took": f"{_seconds(summary)} s" if _seconds(summary) else "",
        "state from": summary.get("state_from"),
        "nodes": ", ".join(f"{number} {status}" for status, number in summary.get("counts", {}).items()),
        "sources": ", ".join(f"{name} {state}" for name, state in summary.get("freshness", {}).items()),
        "image": " ".join(filter(None, [summary.get("image"), summary.get("git_sha")])),
    }
    for name, value in facts.items():
        if value:
            console.say(f"  {name:<11} {value}")
    for each in summary.get("failed") or []:
        console.say(f"\n  x {each['name']} ({each['status']}, {each['path']})")
        console.say(f"    {each['message']}")
    if summary.get("rows"):
        console.say("")
        console.table(
            [("model", "left"), ("rows", "right")], [[name, f"{rows:,}"] for name, rows in summary["rows"].items()]
        )
    if summary.get("control_totals"):
        console.say("")
        console.table(
            [
                ("partner", "left"),
                ("date", "left"),
                ("rows", "right"),
                ("amount", "right"),
                ("", "left"),
                ("points", "right"),
            ],
            [
                [
                    each["partner"],
                    each["business_date"],
                    f"{each['transactions']:,}",
                    each["amount"],
                    each["currency"],
                    f"{each['points']:,}",
                ]
                for each in summary["control_totals"]
            ],
        )


def _seconds(summary: dict[str, Any]) -> str:
    total = summary.get("timings", {}).get("total")
    return "" if total is None else f"{total:.1f}"


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return content

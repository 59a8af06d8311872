"""`./sealift demo`: the main job, end to end, on real local services; what Azure runs every night, in under a minute."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from typing import Any

import requests

from adf_runner import ActivityRun, PipelineRun, load_factory, run_pipeline
from cli import console, demo_rights, demo_sql_server
from cli.partner_layouts import show_sample
from cli.run import Narrator, RunFailed, raise_if_failed
from local.kept import AlreadyKept, keeping, kept_services
from local.openpgp_partner import open_messages, program
from local.partner import CannotUse, Opened, PartnerHome, expected_file
from local.sample_data import load
from local.smime_partner import open_signed
from local.stack import ROOT, Stack
from partners.loading import EXAMPLES, load_partner
from partners.model import Feed

BUSINESS_DATE = date(2026, 11, 21)
# The night of that business date, in one window; on Azure each of its hours is a window of its own.
WINDOW = {"windowStart": "2026-11-22T00:00:00Z", "windowEnd": "2026-11-22T08:00:00Z"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """One partner's batch: what Data Factory and the ledger recorded, and the file that the partner opened."""

    partner: str
    batch: str
    steps: ActivityRun
    receipt: dict[str, Any]
    at: dict[str, datetime]
    rows: int
    files: list[Opened]
    open_seconds: float
    is_compared: bool
    sealed_as: str

    @property
    def size_bytes(self) -> int:
        """Return the length of all opened files."""
        return sum(file.size_bytes for file in self.files)

    def seconds(self, first: str, then: str) -> float:
        """Return how long it took from one step in the ledger to another."""
        return (self.at[then] - self.at[first]).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one demo run did; `failure` is the first cause where a part of the night was red."""

    source_rows: int
    load_seconds: float
    run: PipelineRun
    delivered: list[Delivered]
    failure: RunFailed | None = None


def main(argv: list[str]) -> int:
    """Run the demo; exit 0 only if every partner holds exactly the rows of the mart."""
    parser = argparse.ArgumentParser("sealift demo", description=__doc__)
    parser.add_argument("--rows", type=_rows, metavar="N", help="card transactions to make (100000), or orders (10000)")
    parser.add_argument(
        "--source",
        choices=("warehouse", "sqlserver"),
        default="warehouse",
        help="sqlserver: one feed from the SQL Server of SEALIFT_SQLSERVER, or from a container",
    )
    parser.add_argument("--keep", action="store_true", help="leave the services up until Ctrl-C, print their addresses")
    parser.add_argument(
        "--as-deployed", action="store_true", help="show what each program used of the rights that Azure would give it"
    )
    arguments = parser.parse_args(argv)
    if arguments.source == "sqlserver":
        if arguments.keep:
            parser.error("--keep and --source sqlserver do not go together")
        return demo_sql_server.run(arguments.rows or 10_000)
    began = time.monotonic()
    if arguments.keep and kept_services() is not None:
        raise AlreadyKept
    console.heading("Starting the cloud and the partners on this machine")
    with Stack(on_ready=console.done) as stack:
        result = deliver(stack, arguments.rows or 100_000)
        _show(result)
        if result.failure is not None:
            if not arguments.keep:
                raise result.failure
            console.say(f"\nerror: {result.failure}\nhint: {result.failure.hint}")
        else:
            console.heading(
                "Another partner's format: partners/examples/lloyds.yaml, each record under its field numbers"
            )
            show_sample(load_partner("lloyds", folder=EXAMPLES), "credits", 3)
            count = len(result.delivered)
            console.say(
                f"\nDone in {time.monotonic() - began:.0f} s: {'1 batch is' if count == 1 else f'{count} batches are'} at the"
                " partners, whole, signed, readable only there."
            )
        if arguments.as_deployed:
            demo_rights.show(stack)
        if arguments.keep:
            _keep(stack, result)
        else:
            console.say("\nTry next:")
            _invite(
                ("./sealift demo --keep", "leave all of it up; ./sealift monitor then shows the night in a browser"),
                ("./sealift partner preview lloyds credits --spec", "what a layout says, as a partner reads it"),
                ("./sealift partner new acme", "a partner of your own; the next demo delivers to it"),
            )
    return 0 if result.failure is None else 1


def deliver(stack: Stack, rows: int, *, days: int = 3, canary: str | None = None) -> Result:
    """Load the sources, run the night's pipeline, play the partners who got something.

    The transactions are spread over so many `days`; `canary` becomes the number of a member whose row is delivered.
    """
    console.heading("The night's run: adf/pipeline/nightly.json")
    began = time.monotonic()
    with console.step(f"Load {rows:,} card transactions"):
        loaded = load(stack.postgres.dsn(), rows, days=days, canary_number=canary)
    load_seconds = time.monotonic() - began
    factory = load_factory(ROOT / "adf")
    with Narrator(without=("run_dbt",)) as narrator:
        run = run_pipeline(factory, "nightly", WINDOW, stack.connection().overrides(), on_event=narrator)
    failure = None
    try:
        raise_if_failed(run)
    except RunFailed as error:
        failure = error
    console.heading("The partners' side, each with its own key and program")
    started = [each for each in run.walk() if each.name == "Start" and each.type == "ExecutePipeline"]
    by_partner: dict[str, list[ActivityRun]] = {}
    for steps in filter(_planned, started):
        by_partner.setdefault((_planned(steps) or "").partition(".")[0], []).append(steps)
    with ThreadPoolExecutor(len(by_partner) or 1) as pool:  # a partner opens one batch after the other
        played = chain.from_iterable(
            pool.map(lambda batches: [_play(stack, each) for each in batches], by_partner.values())
        )
    return Result(
        source_rows=loaded.transactions,
        load_seconds=load_seconds,
        run=run,
        delivered=[each for each in played if each is not None],
        failure=failure,
    )


def _planned(steps: ActivityRun) -> str | None:
    """Return the batch that a run of start_batch planned; None where it did not come so far."""
    plan = next((each for each in steps.walk() if each.name == "Plan"), None)
    return plan.output["batch"] if plan is not None and plan.status == "Succeeded" else None


def _play(stack: Stack, steps: ActivityRun) -> Delivered | None:
    """Be the partner of one batch: verify, open, compare with the mart. None where nothing was delivered."""
    batch = _planned(steps) or ""
    name, feed, *_ = batch.split(".")
    partner, status = stack.partners[name], _ask(stack, batch)
    receipt = status.get("receipt")
    if receipt is None:
        console.say(f"  - {name}: {batch} is {status['state']}: there is nothing to open")
        return None
    began = time.monotonic()
    files, note = _open(stack, partner, feed, receipt)
    seconds = time.monotonic() - began
    console.done(f"{name}: open, verify who sent it", seconds, note)
    steps_taken = {each["step"]: each for each in _ask(stack, f"{batch}/ledger")["entries"]}
    rows: int = steps_taken["shaped"]["details"]["rows"]
    compared = time.monotonic()
    expected = expected_file(stack.postgres.dsn(), partner.name, feed, BUSINESS_DATE)
    if expected is not None and [(rows, file.sha256) for file in files] != [expected]:
        raise CannotUse(
            f"{files[0].name} is not the mart's content for {BUSINESS_DATE}",
            "this is a defect of Sealift: report it",
        )
    verdict = "equal" if expected else "not compared: it is not one of the demo's own feeds"
    seen = f"{rows:,} rows, SHA-256 {files[0].sha256[:16]}..., {verdict}"
    console.done(f"{name}: compare with the mart", time.monotonic() - compared, seen)
    return Delivered(
        partner=partner.name,
        batch=batch,
        steps=steps,
        receipt=receipt,
        at={step: datetime.fromisoformat(each["at"]) for step, each in steps_taken.items()},
        rows=rows,
        files=files,
        open_seconds=seconds,
        is_compared=expected is not None,
        sealed_as=_sealed_as(load_partner(name).feeds[feed]),
    )


def _ask(stack: Stack, path: str) -> dict[str, Any]:
    """Return what the function app answers about a batch."""
    address = f"{stack.function.url}/api/batches/{path}"
    answer = requests.get(address, headers={"x-functions-key": stack.function_key}, timeout=30)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def _sealed_as(feed: Feed) -> str:
    """Return how a feed's files are sealed, for people."""
    kind = {"openpgp": "OpenPGP", "smime": "S/MIME"}.get(feed.format)
    if kind is None:
        return "AES-256-GCM, RSA-OAEP"
    is_signed = feed.wishes.sign if feed.wishes else feed.format == "openpgp"
    return f"{kind}, signed" if is_signed else kind


def _open(stack: Stack, partner: PartnerHome, feed: str, receipt: dict[str, Any]) -> tuple[list[Opened], str]:
    """Open the files of a batch as its partner does: by the manifest, or PGP or signed S/MIME files alone.

    Returns what was opened, and in words which files, by which program.
    """
    out = partner.folder / "opened"
    wished = load_partner(partner.name).feeds[feed]
    is_alone = wished.format == "smime" and wished.side_files == "none"
    if partner.desk is None and not is_alone:
        opened = partner.open_batch(receipt["batch"], stack.verification_certificate(), out)
        return opened, f"{_names(opened)}, by its manifest"
    sent = [partner.inbox_of(feed) / file["name"] for file in receipt["files"]]
    if partner.desk is None:
        opened = open_signed(sent, partner, _our_certificate(stack, "smime"), out)
        return opened, f"{_names(opened)}, by openssl"
    opened = open_messages(sent, partner.desk, _our_certificate(stack, "openpgp"), out)
    return opened, f"{_names(opened)}, by {program()}"


def _names(files: list[Opened]) -> str:
    """Return the first file's name, and how many there are besides."""
    return files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"


def _our_certificate(stack: Stack, kind: str) -> bytes:
    """Return what partners who take files without a manifest have of us, made as an operator makes it."""
    path = stack.folder / f"sealift.{kind}"
    command = [sys.executable, "-m", "cli", "keys", "export", f"--{kind}", "--out", str(path)]
    environment = os.environ | stack.connection().operator
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return path.read_bytes()


def _show(result: Result) -> None:
    """Print what happened as a table."""
    rows: list[tuple[str, str, str, str, float]] = [
        ("load", "sample sources into PostgreSQL", f"{result.source_rows:,}", "", result.load_seconds),
        ("dbt", "container group: build and test the marts", "", "", result.run.find("Run dbt").seconds),
    ]
    for one in result.delivered:
        steps, size = one.steps, console.size(one.size_bytes)
        sent = one.receipt["files"]
        by_function = one.receipt["route"] == "function"
        names = tuple(file.name for file in one.files)
        sealed = sum(file["bytes"] for file in sent if file["name"].startswith(names))
        way = "the function" if by_function else "Copy"
        files = "1 file" if len(sent) == 1 else f"{len(sent)} files, manifest last,"
        total = console.size(sum(file["bytes"] for file in sent))
        rows += [
            ("plan", one.batch, "", "", _find(steps, "Plan").seconds),
            ("extract", "PostgreSQL to raw", f"{one.rows:,}", size, _find(steps, "Extract").seconds),
            (
                "seal",
                f"raw to encrypted: {one.sealed_as}",
                "",
                console.size(sealed),
                one.seconds("extracted", "sealed"),
            ),
            ("deliver", f"{files} to SFTP by {way}", "", total, one.seconds("sealed", "delivered")),
            ("confirm", "receipt written, plaintext purged", "", "", one.seconds("delivered", "purged")),
            (
                "open",
                f"by {one.partner}{', equal to the mart' if one.is_compared else ''}",
                f"{one.rows:,}",
                size,
                one.open_seconds,
            ),
        ]
    console.say("")
    console.table(
        [("step", "left"), ("what", "left"), ("rows", "right"), ("bytes", "right"), ("seconds", "right")],
        [(*row[:4], f"{row[4]:.1f}") for row in rows],
    )


def _find(activity: ActivityRun, name: str) -> ActivityRun:
    return next(each for each in activity.walk() if each.name == name)


def _keep(stack: Stack, result: Result) -> None:
    """Leave everything up for other verbs until Ctrl-C."""
    batch = result.delivered[0].batch if result.delivered else "northwind.accruals.2026-11-21.1"
    places = [
        ("PostgreSQL", stack.postgres.dsn()),
        ("function host", f"{stack.function.url}/api/batches/{batch}?code={stack.function_key}"),
        ("operators' page", f"{stack.function.url}/api/monitor?code={stack.function_key}"),
        *((f"{name}'s inbox", str(partner.inbox)) for name, partner in stack.partners.items()),
        ("logs", str(stack.folder)),
    ]
    try:
        with keeping(stack.connection()):
            console.heading("Services stay up until Ctrl-C")
            for what, where in places:
                console.say(f"  {what:<18} {where}")
            console.say("\nIn another terminal:")
            _invite(
                ("./sealift monitor", "the operators' page: every feed by business date, every batch"),
                ("./sealift batch show ID", f"all steps of a batch, such as {batch}"),
                ("./sealift partner check northwind", "what a partner's server answers, step by step"),
            )
            threading.Event().wait()
    except KeyboardInterrupt:
        console.say("\nStopping.")


def _invite(*tries: tuple[str, str]) -> None:
    """Print what to try next, a command a line with what it shows."""
    width = max(len(command) for command, _ in tries)
    for command, what in tries:
        console.say(f"  {command:<{width}}   {what}")


def _rows(text: str) -> int:
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9 and 1 <= int(digits) <= 100_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100,000,000")
    return int(digits)

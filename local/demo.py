"""`./sealift demo`: the main job, end to end, on real local services; what Azure runs every night, in under a minute."""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from local import console
from local.factory import Factory, PipelineRun, run_pipeline
from local.partner_side import Opened, PartnerSideError, expected_file, open_batch
from local.run import KEPT, Narrator, raise_if_failed
from local.sample_data import load
from local.stack import ROOT, Stack

BUSINESS_DATE = date(2026, 11, 21)
WINDOW = {"windowStart": "2026-11-21T00:00:00Z", "windowEnd": "2026-11-22T00:00:00Z"}
BATCH = f"northwind.accruals.{BUSINESS_DATE}.1"


@dataclass(frozen=True, slots=True)
class Result:
    """What one demo run did: the pipeline's record and the file that the partner opened."""

    source_rows: int
    run: PipelineRun
    opened: Opened
    load_seconds: float
    open_seconds: float


def main(argv: list[str]) -> int:
    """Run the demo; exit 0 only if the partner holds exactly the rows of the mart."""
    parser = argparse.ArgumentParser("sealift demo", description=__doc__)
    parser.add_argument("--rows", type=_rows, default=100_000, metavar="N", help="card transactions to make (100000)")
    parser.add_argument(
        "--keep", action="store_true", help="leave the services up until Ctrl-C, and print their addresses"
    )
    arguments = parser.parse_args(argv)
    began = time.monotonic()
    console.heading("Starting the cloud and the partner on this machine")
    with Stack(on_ready=console.done) as stack:
        result = deliver(stack, arguments.rows)
        _show(result)
        seconds = time.monotonic() - began
        console.console.print(
            f"\nDone in {seconds:.0f} s: {BATCH} is at the partner, whole, signed and readable only there."
        )
        if arguments.keep:
            _keep(stack)
        else:
            console.console.print("Try next: ./sealift demo --keep, then look around; ./sealift help lists all verbs.")
    return 0


def deliver(stack: Stack, rows: int, *, days: int = 3, canary: str | None = None) -> Result:
    """Load the sources, run the night's pipeline, play the partner. Raises what failed, with its mend.

    The transactions are spread over so many `days`; `canary` becomes the number of a member whose row is delivered.
    """
    console.heading("The night's run: adf/pipeline/nightly.json")
    began = time.monotonic()
    with console.step(f"Load {rows:,} card transactions"):
        loaded = load(stack.postgres.dsn(), rows, days=days, canary_number=canary)
    load_seconds = time.monotonic() - began
    factory = Factory.load(ROOT / "adf")
    run = run_pipeline(
        factory, "nightly", WINDOW, stack.connection().overrides(), on_event=Narrator(without=("run_dbt", "send_file"))
    )
    raise_if_failed(run)
    console.heading("The partner's side: partner_kit/open.py with the partner's own key")
    began = time.monotonic()
    with console.step("Verify the manifest, open the files") as told:
        (opened,) = open_batch(stack, BATCH, stack.folder / "partner" / "opened")
        told.note = opened.name
    open_seconds = time.monotonic() - began
    with console.step("Compare with marts.partner_daily_accruals") as told:
        if (opened.rows, opened.sha256) != expected_file(stack.postgres.dsn(), BUSINESS_DATE):
            raise PartnerSideError(
                f"{opened.name} is not the mart's content for {BUSINESS_DATE}", "this is a defect of Sealift: report it"
            )
        told.note = f"{opened.rows:,} rows, SHA-256 {opened.sha256[:16]}..., equal"
    return Result(loaded.transactions, run, opened, load_seconds, open_seconds)


def _show(result: Result) -> None:
    """Print what happened as a table."""
    run = result.run
    extract, sealed = run.find("Extract"), run.find("Sealed batch").output
    sent = [*sealed["send"], *sealed["last"]]
    sealed_bytes = sum(file["bytes"] for file in sent if file["name"].endswith(".sealed"))
    seconds = {name: run.find(name).seconds for name in ("Run dbt", "Plan", "Extract", "Confirm")}
    seconds["Seal"] = run.find("Seal").seconds + run.find("Until sealed").seconds
    seconds["Deliver"] = run.find("Send").seconds + run.find("Send manifest").seconds
    rows = [
        ("load", "sample sources into PostgreSQL", f"{result.source_rows:,}", "", result.load_seconds),
        ("dbt", "container group: build and test the marts", "", "", seconds["Run dbt"]),
        ("plan", BATCH, "", "", seconds["Plan"]),
        (
            "extract",
            "PostgreSQL to raw",
            f"{extract.output['rowsCopied']:,}",
            console.size(result.opened.size_bytes),
            seconds["Extract"],
        ),
        ("seal", "raw to encrypted: AES-256-GCM, RSA-OAEP", "", console.size(sealed_bytes), seconds["Seal"]),
        (
            "deliver",
            f"{len(sent)} files to SFTP, manifest last",
            "",
            console.size(sum(f["bytes"] for f in sent)),
            seconds["Deliver"],
        ),
        ("confirm", "receipt written, plaintext purged", "", "", seconds["Confirm"]),
        (
            "open",
            "by the partner, equal to the mart",
            f"{result.opened.rows:,}",
            console.size(result.opened.size_bytes),
            result.open_seconds,
        ),
    ]
    console.console.print()
    console.table(
        [("step", "left"), ("what", "left"), ("rows", "right"), ("bytes", "right"), ("seconds", "right")],
        [(*row[:4], f"{row[4]:.1f}") for row in rows],
    )


def _keep(stack: Stack) -> None:
    """Leave everything up for other verbs until Ctrl-C."""
    stack.connection().write(KEPT)
    try:
        console.heading("Services stay up until Ctrl-C")
        places = [
            ("PostgreSQL", stack.postgres.dsn()),
            ("function host", f"{stack.function.url}/api/batches/{BATCH}  (x-functions-key: {stack.function_key})"),
            ("partner's inbox", str(stack.sftp.root / "inbox")),
            ("opened files", str(stack.folder / "partner" / "opened")),
            ("logs", str(stack.folder)),
        ]
        console.table([("what", "left"), ("where", "left")], places)
        console.console.print("In another terminal: ./sealift run deliver_batch --help; ./sealift run nightly ...")
        threading.Event().wait()
    except KeyboardInterrupt:
        console.console.print("\nStopping.")
    finally:
        KEPT.unlink(missing_ok=True)


def _rows(text: str) -> int:
    count = int(text.replace("_", "").replace(",", ""))
    if not 1 <= count <= 100_000_000:
        raise argparse.ArgumentTypeError("between 1 and 100,000,000")
    return count


def inbox(stack: Stack) -> Path:
    """Return the partner's inbox as a folder of this machine."""
    return stack.sftp.root / "inbox"

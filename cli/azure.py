"""`./sealift azure setup | status --stage STAGE`: from an empty subscription to a stage that is ready.

setup shows each step before it does it, goes on where an earlier run ended, and starts nothing: triggers stay stopped. status
reads only, and ends with the one next command.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cli.console import CommandFailed
from infra.setup import making
from infra.setup.checks import State
from infra.setup.site import Site
from infra.setup.steps import Step, look, set_up
from partners import load_partners
from partners.loading import FOLDER
from partners.source_grants import script
from partners.sources import load_sources

_MARKS = {"done": "+", "open": "-", "wrong": "x"}


def main(argv: list[str]) -> int:
    """Run one verb; status exits with 1 while something is to do."""
    parser = argparse.ArgumentParser("sealift azure", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="setup | status")
    setup = verbs.add_parser("setup", help="make what is missing, step by step")
    setup.add_argument("--yes", action="store_true", help="do not ask before each step: for CI")
    setup.add_argument(
        "--address", default="", metavar="IPV4", help="the public address that you come from, for the warehouse"
    )
    status = verbs.add_parser("status", help="what is done, what differs, and the one next command; changes nothing")
    for verb in (setup, status):
        verb.add_argument("--stage", required=True, metavar="STAGE", help="infra/main.parameters.STAGE.json")
    arguments = parser.parse_args(argv)
    if arguments.verb == "status":
        return show(Site(stage=arguments.stage))
    site = Site(stage=arguments.stage, address=arguments.address)
    made = set_up(site, announce if arguments.yes else ask)
    print(
        f"{arguments.stage} is set up; {made} steps changed something"
        if made
        else f"{arguments.stage} was set up: nothing changed"
    )
    return following(site)


def announce(step: Step, state: State) -> bool:
    """Say what is about to be done, and agree."""
    print(f"  > {step.name}: {state.text}\n    will {step.words}", flush=True)
    return True


def ask(step: Step, state: State) -> bool:
    """Say what is about to be done, and let a person decide. Raises CommandFailed where there is nobody to ask."""
    announce(step, state)
    if not sys.stdin.isatty():
        raise CommandFailed(
            "there is nobody to ask: this is not a terminal", "run it with --yes to agree to every step"
        )
    return input("    go on? [y/N] ").strip().lower() in ("y", "yes")


def show(site: Site) -> int:
    """Print how each step stands, and the one next command."""
    last = None
    for step, state in look(site):
        print(f"  {_MARKS[state.kind]} {step.name}: {state.text}")
        last = last or (state if state.kind != "done" else None)
    if last is None:
        return following(site)
    print(f"\nnext: {last.action or f'./sealift azure setup --stage {site.stage}'}")
    return 1


def source_statements(site: Site, folder: Path = FOLDER) -> list[str]:
    """Return the T-SQL that lets the stage's data factory read the sources of sources.yaml; none before there is a factory."""
    factory = site.values.get("SEALIFT_FACTORY_ID", "").rpartition("/")[2]
    sources = load_sources(folder, json.loads(site.values.get("SEALIFT_FEED_SOURCES") or "{}"))
    return script(load_partners(folder=folder), sources, factory) if factory else []


def following(site: Site) -> int:
    """Print what only people can do, and what comes next."""
    left = making.left_to_people(site)
    if left:
        print("\nleft to people, because only partners have it (docs/runbook.md, Onboard a partner):")
        print("\n".join(f"  - {line}" for line in left))
    if statements := source_statements(site):
        print("\nleft to the administrators of the sources' databases (docs/sql-server.md):")
        print("\n".join(f"  {line}" for line in statements))
    partner = left[0].partition(":")[0] if left else ""
    what = f"./sealift keys check FILE, then store it as {partner}" if left else "./sealift partner check PARTNER"
    print(f"\nnext: {what}")
    return 0

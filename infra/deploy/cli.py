"""The command line: plan and drift only look, apply writes; secrets derives what the template grants for the partners.

Exit codes: 0 nothing to do, or done; 1 failed; 2 there are changes (plan, drift), or wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fault import Fault
from infra import partner_secrets
from infra.deploy.applying import apply_plan
from infra.deploy.arm import PUBLIC_CLOUD, Factory
from infra.deploy.planning import Plan, check_deletions, make_plan
from infra.deploy.source import load_source
from infra.deploy.stage import Stage, apply_overrides, load_stage
from infra.deploy.starts import AS_WRITTEN, NOW, with_starts
from infra.partner_secrets import PartnerSecret

ROOT = Path(__file__).resolve().parent.parent.parent
STAGES = ROOT / "infra" / "stages"
SIGNS = {"create": "+", "update": "~", "delete": "-"}
DONE, FAILED, CHANGES = 0, 1, 2


def main(argv: list[str]) -> int:
    """Run one verb of the tool."""
    options = _parser().parse_args(argv)
    try:
        return _secrets(options) if options.verb == "secrets" else _run(options)
    except Fault as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sealift deploy", description="Bring adf/ to the data factory of a stage.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    texts = {
        "plan": "show what apply would do; exit code 2 when there is something",
        "apply": "make the factory what adf/ and the stage file say",
        "drift": "show what differs in Azure, no matter who changed it; exit code 2 when something does",
    }
    for verb, text in texts.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        sub.add_argument("--stage", required=True, metavar="NAME", help="a file of infra/stages: dev or prod")
        sub.add_argument("--adf", type=Path, default=ROOT / "adf", metavar="FOLDER", help="default: adf")
        sub.add_argument("--stages", type=Path, default=STAGES, metavar="FOLDER", help="default: infra/stages")
        sub.add_argument("--json", action="store_true", help="write the plan as JSON to standard output")
        if verb != "drift":
            start_help = "the first window of a new tumbling trigger: now, as-written, or an instant"
            sub.add_argument("--start", default="", type=_start, metavar="TIME", help=start_help)
            only_help = "deal with these items only: kind.name or name, may be repeated"
            sub.add_argument("--only", action="append", default=[], metavar="GLOB", help=only_help)
            sub.add_argument("--no-prune", action="store_true", help="leave what is in Azure but not in adf/")
    secrets_help = "write infra/partner_secrets.json: the secrets that partners/ names, and who reads each"
    secrets = verbs.add_parser("secrets", help=secrets_help, description=secrets_help)
    secrets.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is out of date")
    return parser


def _secrets(options: argparse.Namespace) -> int:
    if not options.check:
        partner_secrets.write()
    print("\n".join(_secret_lines(partner_secrets.check())))
    return DONE


def _secret_lines(secrets: list[PartnerSecret]) -> list[str]:
    """Say what the template makes and grants for the partners."""
    width = max((len(secret.name) for secret in secrets), default=0)
    lines = [f"  {secret.name:<{width}}  {' and '.join(secret.readers)} read the {secret.words}" for secret in secrets]
    return [
        line.replace("  app read ", "  app reads ").replace("  factory read ", "  factory reads ") for line in lines
    ]


def _start(text: str) -> str:
    if text in ("", NOW, AS_WRITTEN):
        return text
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither now, as-written nor an instant") from None
    return text


def _run(options: argparse.Namespace) -> int:
    secrets = partner_secrets.check() if options.verb == "plan" else []
    stage = load_stage(options.stages / f"{options.stage}.json", os.environ)
    wanted = apply_overrides(load_source(options.adf), stage)
    with _factory(stage) as factory:
        live = {item.key: item for item in factory.items()}
        wanted = with_starts(wanted, live, getattr(options, "start", AS_WRITTEN), datetime.now(UTC))
        only = getattr(options, "only", [])
        plan = make_plan(wanted, live, only=only, keep=stage.keep, prune=not getattr(options, "no_prune", False))
        print(_shown(plan, stage, secrets, as_json=options.json))
        if options.verb == "drift":
            return CHANGES if plan.changes else DONE
        check_deletions(plan, stage.max_delete)
        if options.verb == "plan":
            return CHANGES if plan.changes else DONE
        apply_plan(plan, factory, lambda text: print(f"  {text}", file=sys.stderr))
    return DONE


def _factory(stage: Stage) -> Factory:
    from azure.identity import DefaultAzureCredential

    endpoint = os.environ.get("AZURE_RESOURCE_MANAGER_URL") or PUBLIC_CLOUD
    return Factory(stage.factory_id, DefaultAzureCredential(), endpoint=endpoint)


def _shown(plan: Plan, stage: Stage, secrets: list[PartnerSecret], *, as_json: bool) -> str:
    """Return the plan, and for `plan` what the template grants on the partners' secrets."""
    if as_json:
        added = {"secrets": [asdict(secret) for secret in secrets]} if secrets else {}
        return json.dumps({**_as_json(plan, stage), **added}, indent=2)
    heading = ["secrets of the partners, made and granted by the template:", *_secret_lines(secrets)] if secrets else []
    return "\n".join([*heading, _as_text(plan, stage)])


def _as_text(plan: Plan, stage: Stage) -> str:
    lines = []
    for change in plan.changes:
        note = ", stops and starts again" if change.is_running_trigger and change.action == "update" else ""
        lines.append(f"  {SIGNS[change.action]} {change.item.title}  ({change.action}{note})")
        lines += [f"      {difference}" for difference in change.differences]
    lines += [f"  . {item.title}  (in Azure only, kept)" for item in plan.kept]
    counts = [
        f"{plan.count('create')} to create",
        f"{plan.count('update')} to update",
        f"{plan.count('delete')} to delete",
    ]
    lines.append(f"{stage.name} ({stage.factory}): {', '.join(counts)}, {len(plan.same)} the same")
    return "\n".join(lines)


def _as_json(plan: Plan, stage: Stage) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "factory": stage.factory_id,
        "changes": [
            {
                "action": change.action,
                "item": change.item.title,
                "differences": [
                    {"path": found.path, "live": found.live, "wanted": found.wanted} for found in change.differences
                ],
            }
            for change in plan.changes
        ],
        "same": [item.title for item in plan.same],
        "kept": [item.title for item in plan.kept],
    }

"""Fills the current azd environment from a stage's parameter file, so that dev and prod are files and not memory.

    azd env new prod && python3 -m infra.hooks.stage prod && azd up

Each parameter becomes the variable that infra/main.parameters.json reads it from.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from infra.hooks.commands import HookFailed, finish, run, say
from infra.tools import ROOT

VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
EXAMPLE = re.compile(r"\bexample\.(com|org|net)\b", re.IGNORECASE)
OWNED_BY_AZD = {"AZURE_ENV_NAME"}
DERIVED = {"partners", "escrowSecrets", "partnerSecrets"}  # from partners/: infra/partner_secrets.py


def variables(stage: str, folder: Path = ROOT / "infra") -> dict[str, str]:
    """The variables of a stage, by name, in the text that azd turns back into numbers, booleans and lists."""
    path = folder / f"main.parameters.{stage}.json"
    if not path.is_file():
        known = ", ".join(sorted(other.name.split(".")[2] for other in folder.glob("main.parameters.*.json")))
        raise HookFailed(f"there is no stage {stage!r}", f"the stages are {known}")
    names = _names(folder)
    found = {}
    parameters = json.loads(path.read_text(encoding="utf-8"))["parameters"]
    _refuse_unknown_partners(path.name, parameters)
    for parameter, entry in parameters.items():
        if parameter in DERIVED:
            raise HookFailed(
                f"{path.name}: {parameter!r} is typed here, and the template has it from partners/",
                "take it out; ./sealift deploy secrets shows what the partners' files name",
            )
        if parameter not in names:
            raise HookFailed(f"{path.name}: main.parameters.json does not pass {parameter!r}", "add it there")
        if names[parameter] not in OWNED_BY_AZD:
            found[names[parameter]] = _text(entry["value"])
    return {**found, "SEALIFT_STAGE": stage}


def _refuse_unknown_partners(name: str, parameters: dict[str, Any]) -> None:
    """Raise HookFailed for a partner that this file names and partners/ does not."""
    known = {path.stem for path in (ROOT / "partners").glob("*.yaml")}
    named = parameters.get("partnerSftp", {}).get("value", {})
    if unknown := sorted(set(named) - known):
        raise HookFailed(
            f"{name}: partnerSftp names {unknown[0]!r}, and there is no partners/{unknown[0]}.yaml",
            f"the partners are {', '.join(sorted(known))}",
        )


def refuse_examples(stage: str, found: dict[str, str]) -> None:
    """Raise HookFailed for an address that is nobody's, before anything is made under it."""
    for name, value in found.items():
        if EXAMPLE.search(value):
            raise HookFailed(
                f"main.parameters.{stage}.json: {name} is {value!r}, which is nobody's",
                "write yours into that file: it is the one place for a stage's settings",
            )


def _names(folder: Path) -> dict[str, str]:
    document = json.loads((folder / "main.parameters.json").read_text(encoding="utf-8"))
    return {name: VARIABLE.findall(entry["value"])[0] for name, entry in document["parameters"].items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m infra.hooks.stage", description="Fill the azd environment.")
    parser.add_argument("stage", help="dev or prod: infra/main.parameters.<stage>.json")
    stage = parser.parse_args().stage
    found = variables(stage)
    refuse_examples(stage, found)
    for name, value in found.items():
        run(["azd", "env", "set", name, value])
        say(f"{name}={value}")


if __name__ == "__main__":
    sys.exit(finish(main))

"""The template as Azure would get it, evaluated once per parameter file.

The checker that CI has beside the repository evaluates it. Everywhere else the policies are checked on golden/, which holds
what the checker made; `SEALIFT_UPDATE_GOLDEN=1` writes it anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHECKER = ROOT / ".." / "shared" / "tools" / "bicep_check"
STAGES = [ROOT / "infra" / f"main.parameters.{stage}.json" for stage in ("dev", "prod")]
OPT_INS = sorted((ROOT / "tests" / "infra" / "optins").glob("*.json"))
PARAMETERS = [*STAGES, *OPT_INS]
GOLDEN = ROOT / "tests" / "infra" / "golden"
UPDATE = "SEALIFT_UPDATE_GOLDEN"
SETS = [path.name.split(".")[2 if path in STAGES else 0] for path in PARAMETERS]
PRINCIPALS = {
    "identities/app": "app",
    "identities/dbt": "dbt",
    "factory/factory": "factory",
    "encryptionKey/identity": "storage",
    "33333333-3333-3333-3333-333333333333": "deployer",
}

Bodies = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One evaluated parameter set."""

    name: str
    resources: list[dict[str, Any]]
    outputs: dict[str, Any]
    access: list[dict[str, str]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [resource for resource in self.resources if resource["type"] == kind]

    def named(self, kind: str, start: str) -> dict[str, Any]:
        [found] = [resource for resource in self.of(kind) if resource["name"].startswith(start)]
        return found


def evaluate(folder: Path) -> tuple[Bodies, str]:
    """Every set as the checker evaluates it, and what the checker complained about."""
    command = [sys.executable, str(CHECKER), str(ROOT / "infra" / "main.bicep"), "--strict", "--quiet", "--azure-names"]
    for path in PARAMETERS:
        command += ["--params", str(path)]
    command += ["--expanded", str(folder / "out.json"), "--access-matrix", str(folder / "access.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    access = json.loads((folder / "access.json").read_text())
    bodies = {}
    for name in SETS:
        body = json.loads((folder / f"out.{name}.json").read_text())
        bodies[name] = {"resources": body["resources"], "outputs": body["outputs"], "access": access[name]}
    return bodies, done.stdout + done.stderr


def templates_of(bodies: Bodies) -> dict[str, Template]:
    return {
        name: Template(
            name=name,
            resources=body["resources"],
            outputs=body["outputs"],
            access=_rows(body["access"], body["resources"]),
        )
        for name, body in bodies.items()
    }


def golden() -> Bodies:
    """Every set as it was evaluated when the golden files were made."""
    return {name: json.loads((GOLDEN / f"{name}.json").read_text()) for name in SETS}


def golden_is_of_these_files() -> bool:
    """Return whether the golden files were made of infra/ as it is now; no checker is needed for this."""
    made_of: dict[str, str] = json.loads((GOLDEN / "inputs.json").read_text())
    return made_of == _inputs()


def write_golden(bodies: Bodies) -> None:
    """Write the golden files: one a set, one resource a line, so that a difference can be read."""
    for old in GOLDEN.glob("*.json"):
        old.unlink()
    for name, body in bodies.items():
        parts = [f"{json.dumps(key)}: {_lines(body[key])}" for key in ("resources", "outputs", "access")]
        (GOLDEN / f"{name}.json").write_text("{" + ",\n".join(parts) + "}\n")
    (GOLDEN / "inputs.json").write_text(json.dumps(_inputs(), indent=1) + "\n")


def _lines(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(each, sort_keys=True) for each in value) + "\n]"
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value[name])}" for name in value) + "\n}"


def _inputs() -> dict[str, str]:
    """What the evaluation reads, with a hash of its text: all Bicep files, the parameters and the JSON that they load."""
    loaded = [ROOT / "adf" / "factory" / "sealift.json", ROOT / "infra" / "partner_secrets.json"]
    files = [*sorted((ROOT / "infra").rglob("*.bicep")), *PARAMETERS, *loaded]
    return {path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_text().encode()).hexdigest() for path in files}


def _rows(matrix: list[dict[str, str]], resources: list[dict[str, Any]]) -> list[dict[str, str]]:
    """principal, role, scope, why: without what differs from stage to stage."""
    reasons = {
        (_scope(grant), _principal(grant["properties"]["principalId"]), grant["properties"]["roleDefinitionId"]): grant[
            "properties"
        ].get("description", "")
        for grant in resources
        if grant["type"] == "Microsoft.Authorization/roleAssignments"
    }
    rows = []
    for row in matrix:
        principal = PRINCIPALS[row["principal"]]
        whys = [why for (scope, who, _), why in reasons.items() if scope == row["scope"] and who == principal]
        why = whys[0] if len(whys) == 1 else _by_role(row, whys)
        rows.append({"principal": principal, "role": _stable(row["role"]), "scope": _stable(row["scope"]), "why": why})
    return sorted(rows, key=lambda row: (row["principal"], row["scope"], row["role"]))


def _by_role(row: dict[str, str], whys: list[str]) -> str:
    """Two grants of one principal on one scope: the queue role's reason speaks of queues."""
    [found] = [why for why in whys if ("queue" in why.lower()) == ("Queue" in row["role"])]
    return found


def _principal(value: str) -> str:
    text = re.sub(r"^\[|\.(properties|identity)\.principalId\]$", "", value)
    return PRINCIPALS[text]


def _scope(grant: dict[str, Any]) -> str:
    return str(grant["scope"]).split("/providers/", 1)[1]


def _stable(text: str) -> str:
    """Without the stage's hash."""
    text = re.sub(r"\(([a-z2-7]{13})\)", "(<token>)", text)
    return re.sub(r"\b(straw|stenc|sthost|kv-|cr|appi-|aci-dbt-)[a-z2-7]{13}\b", r"\1<token>", text)

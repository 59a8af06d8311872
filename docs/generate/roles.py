"""docs/roles.md from infra/access_matrix.json: who may do what on what, and why.

The matrix is what the checker of the template evaluated, and a test holds it equal to the template: a grant that is not
in the matrix cannot be merged, and a new line in it is seen in review.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MATRIX = ROOT / "infra" / "access_matrix.json"
PAGE = ROOT / "docs" / "roles.md"
WHO = {
    "app": "the function app (user-assigned identity)",
    "dbt": "the container group of dbt (user-assigned identity)",
    "factory": "Data Factory (system-assigned identity)",
    "deployer": "who deploys (a person, or the pipeline's identity)",
    "storage": "the storage accounts (user-assigned identity, opt-in)",
}

INTRODUCTION = """# Roles

Every grant that the template makes, from `infra/access_matrix.json` by `./sealift docs`; do not edit by hand.
Nobody has a grant on the resource group or the subscription; nothing here can give a grant to anybody else. Shown for two
partners, northwind (route `adf`) and contoso (route `function`, with a password), and one escrow certificate. The real ones
come from `partners/*.yaml`: `./sealift deploy secrets` lists them. `<token>` is the stage's hash.
"""

RIGHTS_OF_THE_DEPLOYER = """
## Before the first deployment

The person or pipeline that runs `azd up` needs **Owner**, or **Contributor** and **User Access Administrator**, on the
subscription: the template is deployed there, as it makes the resource group. Rights on the group alone are not enough, not even
later. The deletion lock (`deleteLock`, on in prod) and the two custom roles (those named Sealift) need User Access
Administrator. **Contributor** and **Role Based Access Control Administrator**, with a condition that allows only the roles
above, deploy a stage without the lock and with `SEALIFT_USE_CUSTOM_ROLE=false`: then the factory gets *Azure Container Instances
Contributor* on that one group instead, which can also change and delete it, and the app *Key Vault Crypto User* on the two
signing keys, which can also change, disable and back them up.
"""


def render() -> str:
    """Return the page as the matrix is now."""
    return page(json.loads(MATRIX.read_text(encoding="utf-8")))


def page(matrix: Mapping[str, list[dict[str, str]]]) -> str:
    """The whole page."""
    base = matrix["default"]
    parts = [INTRODUCTION]
    for principal in dict.fromkeys(row["principal"] for row in base):
        rows = [row for row in base if row["principal"] == principal]
        parts += [f"\n## {principal}\n\n{WHO[principal][0].upper()}{WHO[principal][1:]}.\n\n", _table(rows)]
    parts.append("\n## With an opt-in\n\nWhat each opt-in adds; those that are not listed add no grant.\n\n")
    added = [{**row, "option": option} for option, rows in matrix.items() if option != "default" for row in rows]
    parts += [_table(added, option=True), RIGHTS_OF_THE_DEPLOYER]
    return "".join(parts)


def _table(rows: Iterable[Mapping[str, str]], *, option: bool = False) -> str:
    heads = ["opt-in", "who"] if option else []
    lines = [[*heads, "role", "on", "why"], ["---"] * (len(heads) + 3)]
    for row in rows:
        first = [row["option"], row["principal"]] if option else []
        lines.append([*first, row["role"], f"`{row['scope']}`", row["why"]])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

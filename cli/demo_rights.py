"""`./sealift demo --as-deployed`: what each program asked of the vault and of dbt's container, under the template's grants.

The demo's vault refuses what the template does not grant, so a green night has used nothing else. Storage is not shown: Azurite
knows no roles.
"""

from __future__ import annotations

import json
from collections import Counter

from rich.table import Table

from cli import console
from local.stack import Stack

PROGRAMS = {"function-app": "function app", "data-factory": "Data Factory", "dbt": "dbt"}
Use = tuple[str, str, str, bool]


def uses(stack: Stack) -> Counter[Use]:
    """Count program, operation, resource and whether it was allowed, over all requests so far."""
    counted: Counter[Use] = Counter()
    for request in stack.vault.requests():
        if request["principal"] in PROGRAMS:
            kind, name, *rest = request["path"].strip("/").split("/")
            operation = "sign with" if rest and rest[-1] == "sign" else "read"
            counted[PROGRAMS[request["principal"]], operation, f"{kind[:-1]} {name}", request["status"] != 403] += 1
    for line in stack.groups.log.read_text().splitlines():
        request = json.loads(line)
        if request["principal"] in PROGRAMS:
            last = request["path"].rstrip("/").rpartition("/")[2]
            operation = last if last in ("start", "stop") else "read the log of" if last == "logs" else "read"
            counted[PROGRAMS[request["principal"]], operation, "dbt's container", request["status"] != 403] += 1
    return counted


def show(stack: Stack) -> int:
    """Print the uses as a table; return how many were refused."""
    counted = uses(stack)
    table = Table.grid(padding=(0, 2))
    for (program, operation, resource, allowed), times in sorted(counted.items()):
        table.add_row(
            f"  {'+' if allowed else 'x'}", program, operation, resource, f"{times} times" if times > 1 else "once"
        )
    console.heading("What each program used, under the rights that infra/ deploys (docs/roles.md)")
    console.console.print(table)
    refused = sum(times for use, times in counted.items() if not use[3])
    console.say(
        f"\n{sum(counted.values())} requests, {refused} refused; storage is not shown, as Azurite knows no roles."
    )
    return refused

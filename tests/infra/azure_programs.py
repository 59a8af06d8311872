"""Stand-ins for az and azd: programs on PATH that record each call and answer from one JSON file, which tests edit.

They know what setup calls and nothing else: any other command fails. Their answers have the shapes of Azure's documentation.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

PROGRAM = """#!{python} -SE
import sys
sys.path.insert(0, {tests!r})
from azure_programs import play
play({name!r}, {folder!r})
"""
OUTPUTS = {
    "AZURE_RESOURCE_GROUP": "rg-sealift-dev",
    "SEALIFT_FACTORY_ID": "/subscriptions/5ub/resourceGroups/rg-sealift-dev/providers/Microsoft.DataFactory/factories/adf-x",
    "SEALIFT_FUNCTION_APP_ID": "/subscriptions/5ub/the/app",
    "SEALIFT_WAREHOUSE_DATABASE": "warehouse",
    "SEALIFT_DBT_USER": "sealift_dbt",
    "SEALIFT_DBT_PRINCIPAL_ID": "0b3c1c5e-0000-4000-8000-00000000000a",
    "SEALIFT_WAREHOUSE_TAKES_ENTRA": "false",
}
EMPTY: dict[str, Any] = {
    "account": {
        "id": "5ub",
        "name": "Sub",
        "state": "Enabled",
        "tenantId": "t",
        "user": {"name": "chief", "type": "user"},
    },
    "permissions": [{"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}],
    "registered": [],
    "flex": ["West Europe"],
    "groups": ["West Europe"],
    "skus": [{"supportedServerEditions": [{"supportedServerSkus": [{"name": "Standard_B1ms"}]}]}],
    "usages": [{"name": {"value": "StandardCores"}, "currentValue": 0, "limit": 10}],
    "deleted": [],
    "budget": None,
    "shares": False,
    "environment": None,
    "outputs": OUTPUTS,
    "token": "chief",
    "fails": {},
}


def install(folder: Path, **changes: Any) -> Path:
    """Put both programs into a folder; return the file that they answer from."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("az", "azd"):
        program = folder / name
        program.write_text(
            PROGRAM.format(python=sys.executable, tests=str(Path(__file__).parent), name=name, folder=str(folder))
        )
        program.chmod(0o755)
    state = folder / "state.json"
    state.write_text(json.dumps(EMPTY | changes))
    (folder / "calls").touch()
    return state


def play(name: str, folder: str) -> None:
    """Be one of the programs for one call."""
    arguments = sys.argv[1:]
    with Path(folder, "calls").open("a") as calls:
        calls.write(f"{name} {' '.join(arguments)}\n")
    with Path(folder, "state.json").open() as file:
        state = json.load(file)
    line = f"{name} {' '.join(arguments)}"
    for words, text in state["fails"].items():
        if words in line:
            print(text, file=sys.stderr)
            sys.exit(1)
    answer = (_az if name == "az" else _azd)(arguments, state)
    with Path(folder, "state.json").open("w") as file:
        json.dump(state, file)
    if answer is not None:
        print(answer if isinstance(answer, str) else json.dumps(answer))


def _az(arguments: list[str], state: dict[str, Any]) -> Any:
    line = " ".join(arguments)
    named = dict(itertools.pairwise(arguments))
    if line.startswith("account show") and state["account"]:
        return state["account"]
    if line.startswith("account get-access-token"):
        return state["token"]
    if "Microsoft.Authorization/permissions" in line:
        return {"value": state["permissions"]}
    if line.startswith("provider list"):
        return [{"namespace": each, "registrationState": "Registered"} for each in state["registered"]]
    if line.startswith("provider register"):
        state["registered"].append(named["--namespace"])
        return None
    if line.startswith("provider show"):
        return state["groups"]
    if line.startswith("functionapp list-flexconsumption-locations"):
        return [{"name": each} for each in state["flex"]]
    if line.startswith("postgres flexible-server list-skus"):
        return state["skus"]
    if "/budgets/" in line:
        return state["budget"] or sys.exit(
            "(ResourceGroupNotFound) Resource group 'rg-sealift-dev' could not be found."
        )
    if "/usages" in line:
        return {"value": state["usages"]}
    if line.startswith("keyvault list-deleted"):
        return state["deleted"]
    if line.startswith("group create"):
        return None
    if line.startswith("keyvault recover"):
        state["deleted"] = []
        return None
    if line.startswith("version"):
        return '{"azure-cli": "2.76.0"}'
    print(
        f"ERROR: '{line}' is misspelled or not recognized" if state["account"] else "Please run 'az login'",
        file=sys.stderr,
    )
    sys.exit(2)


def _azd(arguments: list[str], state: dict[str, Any]) -> Any:
    line = " ".join(arguments)
    if line.startswith("version"):
        return "azd version 1.31.0 (commit x)"
    if line.startswith("config get"):
        return "true" if state["shares"] else sys.exit("no value stored at path")
    if line.startswith("config set auth.useAzCliAuth true"):
        state["shares"] = True
    elif line.startswith("env new"):
        state["environment"] = {
            "AZURE_ENV_NAME": arguments[2],
            "AZURE_LOCATION": arguments[arguments.index("--location") + 1],
        }
    elif state["environment"] is None:
        sys.exit("ERROR: environment 'dev' does not exist, create it with 'azd env new dev'")
    elif line.startswith("env get-values"):
        return "\n".join(f"{name}={json.dumps(value)}" for name, value in state["environment"].items())
    elif line.startswith("env set"):
        pairs = [argument.partition("=") for argument in arguments[2:] if "=" in argument]
        state["environment"] |= {name: value for name, _, value in pairs}
    elif line.startswith("provision"):
        state["environment"] |= state["outputs"]
        return "Provisioning Azure resources"
    elif line.startswith("deploy"):
        return "Deploying services"
    else:
        sys.exit(f"ERROR: unknown command {line!r}")
    return None

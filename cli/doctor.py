"""`./sealift doctor`: what is installed, reachable and set up on this machine, and for a stage; and the one next command.

Reads only: nothing is installed, started or changed. `az` and `azd` are asked what they know, nothing else of Azure.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from cli import console
from infra.hooks.stage import EXAMPLE, variables
from local.azurite import find_node
from local.kept import kept_services
from local.wire.processes import ServiceError

ROOT = Path(__file__).resolve().parent.parent
FREE_BYTES = 3_000_000_000
# What takes part where it is installed, and what is left out without it.
OPTIONAL = {
    "gpg": "opens the demo's OpenPGP files as a partner does (else the tests' own reader)",
    "openssl": "opens sealed files as the partner's page shows",
    "java": "runs the Java opener in the tests",
    "chromium": "looks at the operators' pages in the tests",
    "docker": "builds dbt's image here instead of in Azure",
}
TOOLS = {"az": ("2.76", "https://aka.ms/installazurecli"), "azd": ("1.31", "https://aka.ms/azd-install")}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: `state` is ok, missing (an extra that is not there) or wrong; `action` is a command."""

    name: str
    state: str
    found: str
    action: str = ""


def main(argv: list[str]) -> int:
    """Print a line for each check and the one next command; exit 1 when something is wrong."""
    parser = argparse.ArgumentParser("sealift doctor", description=__doc__)
    parser.add_argument("--stage", metavar="STAGE", help="look at what a deployment of this stage needs as well")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    arguments = parser.parse_args(argv)
    checks = [*machine(), *(stage(arguments.stage) if arguments.stage else ())]
    wrong = [check for check in checks if check.state == "wrong"]
    following = wrong[0].action if wrong else after(arguments.stage)
    if arguments.json:
        print(json.dumps({"checks": [asdict(check) for check in checks], "next": following}, indent=2))
    else:
        show(checks, following)
    return 1 if wrong else 0


def show(checks: list[Check], following: str) -> None:
    """Print the checks as a table, and what to do next."""
    marks = {"ok": "+", "missing": "-", "wrong": "x"}
    table = Table.grid(padding=(0, 2))
    for check in checks:
        table.add_row(f"  {marks[check.state]}", check.name, check.found)
    console.console.print(table)
    console.say(f"\nnext: {following}")


def after(name: str | None) -> str:
    """Return what to do where all is well."""
    if name:
        return f"./sealift azure setup --stage {name}"
    return "./sealift demo"


def machine() -> Iterator[Check]:
    """Look at this machine."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", "ok", f"{version} in {Path(sys.prefix).name}")
    yield _attempt("Node.js", find_node, "./sealift help")
    dbt = ROOT / ".venv-dbt" / "bin" / "dbt"
    yield Check(
        "dbt", "ok" if dbt.exists() else "wrong", "installed" if dbt.exists() else "not there", "./sealift help"
    )
    free = shutil.disk_usage(ROOT).free
    room = f"{free / 1e9:.1f} GB free"
    yield Check("disk", "ok" if free > FREE_BYTES else "wrong", room, "free 3 GB: the tests write large files")
    yield partner_files()
    kept = kept_services()
    yield Check(
        "services", "ok" if kept else "missing", "a kept demo is up" if kept else "no kept demo: ./sealift demo --keep"
    )
    for program, purpose in OPTIONAL.items():
        path = shutil.which(program)
        yield Check(program, "ok" if path else "missing", path or f"not there; it {purpose}")


def partner_files() -> Check:
    """Look at the partner files as `partner lint` does."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "partner", "lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    count = len(re.findall(r"^  \+ ", done.stdout, re.MULTILINE))
    if done.returncode:
        faults = len(re.findall(r"^  x ", done.stdout, re.MULTILINE))
        return Check("partner files", "wrong", f"{count} are fine, {faults} faults in others", "./sealift partner lint")
    return Check("partner files", "ok", f"{count} are fine")


def stage(name: str) -> Iterator[Check]:
    """Look at what a deployment of a stage needs."""
    file = f"infra/main.parameters.{name}.json"
    yield _attempt(file, lambda: settings(name), f"write your own values into {file}")
    for program, (least, where) in TOOLS.items():
        yield tool(program, least, where)
    yield _asked("az is signed in", ["az", "account", "show", "--output", "json"], _account, "az login")
    yield _asked(
        "azd is signed in", ["azd", "auth", "login", "--check-status"], lambda text: text.strip(), "azd auth login"
    )
    yield _asked(
        f"azd environment {name}",
        ["azd", "env", "get-values", "--environment", name],
        lambda text: "deployed" if "SEALIFT_FUNCTION_APP_ID" in text else "made, not deployed",
        f"./sealift azure setup --stage {name}",
    )


def settings(name: str) -> str:
    """Return what the stage's file sets. Raises HookFailed for an unknown stage, ValueError for an example's address."""
    found = variables(name)
    example = next((key for key, value in found.items() if EXAMPLE.search(value)), None)
    if example:
        raise ValueError(f"{example} is {found[example]!r}, which is nobody's")
    return f"{len(found)} settings"


def tool(program: str, least: str, where: str) -> Check:
    """Look for a program of at least a version."""
    if shutil.which(program) is None:
        return Check(program, "wrong", f"not there; {least} or newer is needed", f"install it: {where}")
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)[\w.]*", done.stdout)
    version = found[0] if found else "an unknown version"
    enough = found is not None and (int(found[1]), int(found[2])) >= tuple(map(int, least.split(".")))
    action = f"install {least} or newer: {where}"
    return Check(program, "ok" if enough else "wrong", version if enough else f"{version}; {least} is needed", action)


def _account(text: str) -> str:
    account = json.loads(text)
    return f"{account['name']}, tenant {account['tenantId']}"


def _asked(name: str, command: list[str], read: Callable[[str], Any], action: str) -> Check:
    """Ask a program; what it says on failure is not shown, as it may hold more than is asked for."""
    if shutil.which(command[0]) is None:
        return Check(name, "wrong", f"{command[0]} is not there", f"install {command[0]}: {TOOLS[command[0]][1]}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        return Check(name, "wrong", "no", action)
    return Check(name, "ok", str(read(done.stdout)))


def _attempt(name: str, look: Callable[[], str], action: str) -> Check:
    try:
        return Check(name, "ok", look())
    except (ServiceError, ValueError, OSError) as error:
        return Check(name, "wrong", str(error), action)

"""What is known of a stage while it is set up: its file, azd's environment, who is signed in. Asks az and azd."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from infra import tools
from infra.hooks import stage as stages
from infra.tools import ROOT

PROVISIONED, DEPLOYED = "SEALIFT_SETUP_PROVISIONED", "SEALIFT_SETUP_DEPLOYED"
_DEPLOYED_FOLDERS = ("adf", "batches", "delivery", "encryption", "monitor", "partners", "infra/stages")
_DEPLOYED_FILES = ("fault.py", "function_app.py", "host.json", "requirements.txt")


def print_line(text: str) -> None:
    print(text, flush=True)


@dataclass(kw_only=True)
class Site:
    """One stage. `address` is the public address that the operator comes from, where it is named."""

    stage: str
    address: str = ""
    infra: Path = ROOT / "infra"
    say: Callable[[str], None] = print_line
    _values: dict[str, str] | None = field(default=None, init=False, repr=False)

    @cached_property
    def settings(self) -> dict[str, str]:
        """The stage file's settings, by the name of azd's variable. Raises HookFailed."""
        return stages.variables(self.stage, self.infra)

    def is_on(self, name: str, *, default: bool = False) -> bool:
        return self.settings.get(name, str(default)).lower() == "true"

    @property
    def location(self) -> str:
        return self.settings["AZURE_LOCATION"]

    @property
    def uses_vnet(self) -> bool:
        return self.is_on("SEALIFT_STATIC_EGRESS_IP") or self.settings.get("SEALIFT_NETWORK") == "private"

    @property
    def values(self) -> dict[str, str]:
        """The environment of azd; empty while there is none."""
        if self._values is None:
            try:
                text = self.azd("env", "get-values")
            except tools.ToolFailed as error:
                if (
                    "not exist" not in str(error)
                    and "not found" not in str(error)
                    and "no environment" not in str(error)
                ):
                    raise
                text = ""
            self._values = _read_values(text)
        return self._values

    def forget(self) -> None:
        """Ask anew from now on: something was changed."""
        self._values = None

    def set_value(self, name: str, value: str) -> None:
        self.azd("env", "set", f"{name}={value}")
        self.forget()

    @cached_property
    def account(self) -> dict[str, Any]:
        found: dict[str, Any] = self.az("account", "show")
        return found

    def az(self, *arguments: str) -> Any:
        """Return what az answers, as JSON."""
        text = tools.run(["az", *arguments, "--output", "json"])
        return json.loads(text) if text else None

    def get(self, path: str, version: str) -> Any:
        """Return what the resource manager answers below the subscription."""
        return self.az(
            "rest", "--method", "get", "--url", f"/subscriptions/{self.account['id']}/{path}?api-version={version}"
        )

    def azd(self, *arguments: str, show: bool = False) -> str:
        return tools.run(["azd", *arguments, "--environment", self.stage], show=show)

    def own_address(self) -> str:
        """Return the address that is named, or the one from which Entra saw this sign-in; empty where neither is known."""
        if self.address:
            return self.address
        token = tools.run(["az", "account", "get-access-token", "--query", "accessToken", "--output", "tsv"])
        part = token.split(".")[1] if token.count(".") == 2 else ""
        try:
            claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except ValueError:
            return ""
        found = str(claims.get("ipaddr", ""))
        return found if ":" not in found else ""  # the warehouse's firewall knows IPv4 only

    def fingerprint_of_infra(self) -> str:
        """Return what changes with anything that a provision reads."""
        files = [*self.infra.rglob("*.bicep"), self.infra / "partner_secrets.json", self.infra / "main.parameters.json"]
        image = [
            path for path in (ROOT / "dbt_runner").rglob("*") if path.suffix in (".py", ".sql", ".yml", ".txt", "")
        ]
        return _fingerprint([*files, *image], json.dumps(self.settings, sort_keys=True))

    def fingerprint_of_app(self) -> str:
        """Return what changes with anything that a deployment of the app or of adf/ reads."""
        files = [path for folder in _DEPLOYED_FOLDERS for path in (ROOT / folder).rglob("*")]
        return _fingerprint(
            [*files, *(ROOT / name for name in _DEPLOYED_FILES)], self.values.get("SEALIFT_FUNCTION_APP_ID", "")
        )


def _fingerprint(files: Iterable[Path], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for path in sorted(files):
        if path.is_file() and "__pycache__" not in path.parts and "target" not in path.parts:
            digest.update(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _read_values(text: str) -> dict[str, str]:
    """Read NAME="value" lines; azd quotes as JSON does, but for signs that our values do not have."""
    found = {}
    for line in text.splitlines():
        name, _, quoted = line.partition("=")
        try:
            found[name] = str(json.loads(quoted))
        except ValueError:
            found[name] = quoted.strip('"')
    return found

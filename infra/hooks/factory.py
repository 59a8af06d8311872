"""Puts the function key into the vault, where the factory reads it, and deploys adf/.

The key is made by Azure with the app, so it cannot be in the template; it goes from one Azure service to another through
this process's memory and is never written down here.
"""

from __future__ import annotations

import json
import os
import sys

from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from infra.hooks.commands import HookFailed, finish, run, say, setting, wait_until
from infra.tools import ROOT

SECRET = "function-key"  # noqa: S105 - a name


def store_function_key(vault: SecretClient, key: str) -> bool:
    """Make `key` the newest version of the secret; False where it is that already."""
    try:
        if vault.get_secret(SECRET).value == key:
            return False
    except HttpResponseError as error:
        # 404: not there. 403: the placeholder that the template made is switched off.
        if error.status_code not in (403, 404):
            raise
    vault.set_secret(SECRET, key, content_type="function key")
    return True


def stage_name() -> str:
    """The stage whose file says how adf/ differs here; a wrong one would deploy another stage's rules, so none is guessed."""
    stage = os.environ.get("SEALIFT_STAGE", "")
    known = sorted(path.stem for path in (ROOT / "infra" / "stages").glob("*.json"))
    if stage not in known:
        said = f"there is no stage {stage!r} in infra/stages" if stage else "SEALIFT_STAGE is not set"
        raise HookFailed(said, f"the stages are {', '.join(known)}; choose one: python3 -m infra.hooks.stage STAGE")
    return stage


def main() -> None:
    stage = stage_name()
    # Not `host`/`default` by az functionapp: that command is slower and needs the name and the group apart.
    url = f"{setting('SEALIFT_FUNCTION_APP_ID')}/host/default/listKeys?api-version=2025-03-01"
    key = wait_until(lambda: json.loads(run(["az", "rest", "--method", "post", "--url", url])))["functionKeys"][
        "default"
    ]
    vault = SecretClient(setting("SEALIFT_KEY_VAULT_URL"), DefaultAzureCredential())
    say(
        "the function key is new in the vault" if store_function_key(vault, key) else "the function key is in the vault"
    )
    run([sys.executable, "-m", "infra.deploy", "apply", "--stage", stage, "--start", "now"], show=True)
    say("new triggers are stopped: start hourly_window in ADF Studio when the partner is ready")


if __name__ == "__main__":
    sys.exit(finish(main))

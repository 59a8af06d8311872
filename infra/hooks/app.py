"""Asks the deployed app from outside whether it is alive, closed and ready, and whether its settings hold no secret.

This only reads. With SEALIFT_CONTRACT_TESTS=true the whole contract suite (tests/contract), which holds on a laptop, is
held against Azure too; it plans batches of the last century and so takes sequence numbers: never where a real partner is.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential

from infra.hooks.commands import HookFailed, finish, run, say, setting, wait_until
from infra.tools import ROOT

# Azure builds the packages; with another Python than the app's, the first import fails and no function is there.
NOT_ALIVE = (
    "look into the deployment's log for the Python that built it, which must be 3.13; then into Application Insights"
)
PLAIN_CONNECTIONS = ("AzureWebJobsStorage", "AzureWebJobsDashboard", "RawStorage", "EncryptedStorage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: Any


def ask(url: str, key: str = "", token: str = "") -> Answer:
    """GET one address; the answer of a closed or absent app is an answer too."""
    headers = ({"x-functions-key": key} if key else {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - built from our own setting
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return Answer(status=response.status, body=_json(response.read()))
    except urllib.error.HTTPError as error:
        return Answer(status=error.code, body=_json(error.read()))
    except OSError as error:
        return Answer(status=0, body=str(error))


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")[:300]


def token_for(client_id: str) -> str:
    """A token of who deploys for the app's registration in Entra; none where there is no registration."""
    if not client_id:
        return ""
    try:
        return DefaultAzureCredential().get_token(f"api://{client_id}/.default").token
    except ClientAuthenticationError as error:
        hint = "sign in: az login; the registration must let the Azure CLI ask for its tokens (runbook, entraClientId)"
        raise HookFailed(f"no token for api://{client_id}: {error.message}", hint) from error


def check(url: str, key: str, token: str = "") -> None:
    """Raise HookFailed with the first statement about the app that is not true."""
    statements: list[tuple[str, Answer, Callable[[Answer], bool]]] = [
        ("the app is alive", ask(f"{url}/api/health"), lambda found: found.status == 200),
        ("the app is closed without a key", ask(f"{url}/api/ready"), lambda found: found.status == 401),
        (
            "storage, queue and vault answer the app",
            ask(f"{url}/api/ready", key, token),
            lambda found: found.status == 200,
        ),
        (
            "an unknown batch is answered with a hint",
            ask(f"{url}/api/batches/nobody.nothing.2000-01-01.1", key, token),
            lambda found: found.status == 404 and isinstance(found.body, dict) and bool(found.body.get("hint")),
        ),
    ]
    hint = "look into Application Insights"
    if token:
        closed = (
            "a key without a token opens nothing",
            ask(f"{url}/api/ready", key),
            lambda found: found.status == 401,
        )
        statements.insert(2, closed)
        hint += "; at 401 or 403: is AZURE_PRINCIPAL_ID, or one of operatorPrincipalIds, who is signed in?"
    for text, found, holds in statements:
        if not holds(found):
            action = NOT_ALIVE if text == statements[0][0] else hint
            raise HookFailed(f"not true: {text} ({found.status}: {found.body})", action)
        say(text)


def check_settings(settings: dict[str, str]) -> None:
    """Raise HookFailed when Azure put a connection string beside the identity-based settings."""
    plain = [name for name in PLAIN_CONNECTIONS if settings.get(name)]
    keys = [name for name, value in settings.items() if "AccountKey=" in value or "SharedAccessSignature=" in value]
    if found := sorted({*plain, *keys}):
        names = ", ".join(found)
        raise HookFailed(
            f"the app has connection strings: {names}", f"az functionapp config appsettings delete: {names}"
        )
    say("no app setting holds a connection string")


def main() -> None:
    app_id = setting("SEALIFT_FUNCTION_APP_ID")

    def rest(path: str) -> Any:
        url = f"{app_id}/{path}?api-version=2025-03-01"
        return json.loads(run(["az", "rest", "--method", "post", "--url", url]))

    check_settings(rest("config/appsettings/list")["properties"])
    key = wait_until(lambda: rest("host/default/listKeys"))["functionKeys"]["default"]
    url = setting("SEALIFT_FUNCTION_APP_URL")
    token = token_for(os.environ.get("SEALIFT_ENTRA_CLIENT_ID", ""))
    wait_until(lambda: check(url, key, token))
    if token:
        say("the contract suite is not run where a token is needed: it brings a key only")
    elif os.environ.get("SEALIFT_CONTRACT_TESTS", "").lower() == "true":
        run([str(ROOT / "sealift"), "test", "-n0", "tests/contract"], show=True, extra={"BASE_URL": url, "KEY": key})


if __name__ == "__main__":
    sys.exit(finish(main))

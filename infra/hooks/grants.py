"""Waits until the role grants of this deployment work. Azure takes up to some minutes to spread them; a package that is
uploaded before that fails with 403.

The deployer's own grants are asked: they were made in the same deployment as the app's, and only they can be asked from
here. That the app's have arrived too is likely, not certain; `app` asks the app itself afterwards.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Mapping

from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
from azure.storage.blob import BlobServiceClient

from infra.hooks.commands import HookFailed, finish, say, setting

LIMIT_SECONDS = 300
PAUSE_SECONDS = 5


def wait(
    probes: Mapping[str, Callable[[], object]],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Try each probe until it is allowed; raises HookFailed after five minutes, and at once for anything but 403."""
    ends = clock() + LIMIT_SECONDS
    for name, probe in probes.items():
        while not _allowed(name, probe):
            if clock() >= ends:
                hint = "does AZURE_PRINCIPAL_ID name who is signed in? Then wait a little and run: azd deploy"
                raise HookFailed(f"{name} is still refused after {LIMIT_SECONDS // 60} minutes", hint)
            sleep(PAUSE_SECONDS)
        say(f"{name}: allowed")


def _allowed(name: str, probe: Callable[[], object]) -> bool:
    try:
        probe()
    except HttpResponseError as error:
        if error.status_code == 403:
            return False
        raise HookFailed(f"{name}: {error.message}", "is the address right, and the network open to you?") from error
    return True


def probes() -> dict[str, Callable[[], object]]:
    """The data planes that a deployment needs, each with something harmless to do there."""
    credential = DefaultAzureCredential()
    vault = SecretClient(setting("SEALIFT_KEY_VAULT_URL"), credential)
    package = BlobServiceClient(setting("SEALIFT_HOST_STORAGE_URL"), credential).get_container_client(
        setting("SEALIFT_PACKAGE_CONTAINER")
    )

    def touch() -> None:
        blob = package.get_blob_client(f"probe-{uuid.uuid4()}")
        blob.upload_blob(b"")
        blob.delete_blob()

    return {"the vault": lambda: list(vault.list_properties_of_secrets()), "the package container": touch}


def main() -> None:
    wait(probes())


if __name__ == "__main__":
    sys.exit(finish(main))

"""What the app cannot use is named by /api/ready, with its cause and the action that helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_world import app_settings, running
from azure.storage.queue import QueueClient

from batches import Need, Stores, find_causes
from batches.checks import QUEUE_ROLE
from encryption import VaultForbidden
from local.azurite import Azurite
from local.functions_host.host import FunctionHost
from local.key_vault.server import KeyVault
from local.stack import HOST
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault


@pytest.fixture
def proxy(app_storage: tuple[Azurite, Stores]) -> Iterator[FaultProxy]:
    with FaultProxy(app_storage[0].queue_url(HOST).rpartition("/")[0]) as proxy:
        yield proxy


def cause_of(proxy: FaultProxy, azurite: Azurite, queue: str = "seal") -> dict[str, str]:
    connection = proxy.before(azurite.connection_string(HOST))
    with QueueClient.from_connection_string(connection, queue, retry_total=0) as client:
        return find_causes({"queue": Need(ask=client.get_queue_properties, role=QUEUE_ROLE)})["queue"]


@pytest.mark.parametrize(
    ("fault", "error", "hint"),
    [
        (Fault(status=403), "storage refuses the app's identity (403", QUEUE_ROLE),
        (Fault(status=401), "storage refuses the app's identity (401", QUEUE_ROLE),
        (Fault(status=503), "storage answers 503", "no action needed if it passes"),
        (Fault(drop=True), "storage gives no answer", "network rules"),
    ],
    ids=["forbidden", "unauthorized", "busy", "hangs up"],
)
def test_cause_names_the_action(
    proxy: FaultProxy, app_storage: tuple[Azurite, Stores], fault: Fault, error: str, hint: str
) -> None:
    proxy.faults.add(fault)

    cause = cause_of(proxy, app_storage[0])

    assert cause["error"].startswith(error)
    assert hint in cause["hint"]


def test_queue_that_was_never_made_is_named(proxy: FaultProxy, app_storage: tuple[Azurite, Stores]) -> None:
    cause = cause_of(proxy, app_storage[0], "never-made")

    assert cause == {"error": "it does not exist", "hint": "run azd provision, which makes it"}


def test_errors_of_ours_keep_their_hint_and_others_tell_their_type_alone() -> None:
    def forbidden() -> None:
        raise VaultForbidden("the vault does not accept this identity for key 'k'")

    def setting() -> None:
        raise KeyError("KEY_VAULT_URL")

    def crash() -> None:
        raise OSError("words that stay here")

    causes = find_causes({"key": Need(ask=forbidden), "vault": Need(ask=setting), "else": Need(ask=crash)})

    assert "Key Vault Secrets User" in causes["key"]["hint"]
    assert causes["vault"]["error"] == "the app setting KEY_VAULT_URL is missing"
    assert causes["else"]["error"] == "the check failed (OSError)"


def test_app_without_a_role_on_its_queues_is_not_ready_and_names_it(
    proxy: FaultProxy,
    app_storage: tuple[Azurite, Stores],
    app_code: Path,
    key_vault: KeyVault,
    app_identity: dict[str, str],
    tmp_path: Path,
) -> None:
    azurite = app_storage[0]
    queues = proxy.before(azurite.connection_string(HOST))
    settings = app_settings(azurite, key_vault.url, AzureWebJobsStorage=queues) | app_identity
    with running(FunctionHost(app_code, settings, folder=tmp_path / "host"), app_storage[1]) as app:
        # Only what the check asks for: a refused receive would end the host, as on Azure.
        proxy.faults.add(Fault(path="*/seal", query="*comp=metadata*", status=403, times=None))

        answer = app.call("GET", "ready")

    assert answer.status_code == 503
    body = answer.json()
    assert [name for name, holds in body["checks"].items() if not holds] == ["seal queue"]
    assert QUEUE_ROLE in body["causes"]["seal queue"]["hint"]

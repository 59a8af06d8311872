"""Ready: can the app reach and use what it needs? What it cannot use is named with its cause and the action that helps.

A queue that refuses the app ends the Functions host at the first poll, and the platform starts it again and again: the log then
shows restarts only. These checks ask for the same things from an instance that serves HTTP, and name the missing role.
They do NOT write, so a role that can only read passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from batches.log import log_failure
from batches.stores import Stores
from fault import Fault

BLOB_ROLE, QUEUE_ROLE = "Storage Blob Data Contributor", "Storage Queue Data Contributor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that the app needs: how it is asked for, and the role that a refusal is about, "" where there is none."""

    ask: Callable[[], object]
    role: str = ""


def storage_needs(stores: Stores) -> dict[str, Need]:
    """Return what the app needs of storage, by the names that `/api/ready` shows."""
    return {
        "raw": Need(ask=stores.raw.get_container_properties, role=BLOB_ROLE),
        "encrypted": Need(ask=stores.encrypted.get_container_properties, role=BLOB_ROLE),
        "batches": Need(ask=stores.batches.get_container_properties, role=BLOB_ROLE),
        "seal queue": Need(ask=stores.seal_queue.get_queue_properties, role=QUEUE_ROLE),
        "deliver queue": Need(ask=stores.deliver_queue.get_queue_properties, role=QUEUE_ROLE),
    }


def find_causes(needs: Mapping[str, Need]) -> dict[str, dict[str, str]]:
    """Ask for everything; return error and hint of what cannot be used, by name, and log them."""
    causes: dict[str, dict[str, str]] = {}
    for name, need in needs.items():
        try:
            need.ask()
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the app is not ready
            message, hint = _explain(error, need.role)
            causes[name] = {"error": message, "hint": hint}
            log_failure("app.not_ready", check=name, error=message, hint=hint)
    return causes


def _explain(error: Exception, role: str) -> tuple[str, str]:
    match error:
        case Fault():
            return error.message, error.hint
        case ClientAuthenticationError() if error.response is None:
            return "the app gets no token for its identity", "check the app's managed identity and AZURE_CLIENT_ID"
        case HttpResponseError(status_code=401 | 403):
            code = f"{error.status_code} {getattr(error, 'error_code', None) or ''}".strip()
            return (
                f"storage refuses the app's identity ({code})",
                f"give it the role {role} there (docs/roles.md) and wait ten minutes; check the account's network rules",
            )
        case ResourceNotFoundError():
            return "it does not exist", "run azd provision, which makes it"
        case AzureError():
            status = getattr(error, "status_code", None)
            return (
                f"storage answers {status}" if status else "storage gives no answer",
                "no action needed if it passes; if it stays, check the account's address and network rules",
            )
        case KeyError():
            return f"the app setting {error.args[0]} is missing", "run azd provision, which sets it"
        case _:
            return f"the check failed ({type(error).__name__})", "see the app's log for app.not_ready"

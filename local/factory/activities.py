"""Which function does the work of which activity type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.factory import containers
from local.factory.control import Call
from local.factory.copying import copy_activity
from local.factory.lookups import get_metadata, lookup
from local.factory.scripts import delete, script, validation
from local.factory.web import azure_function, web_activity

HANDLERS: dict[str, Callable[[Call], dict[str, Any]]] = {
    **containers.HANDLERS,
    "WebActivity": web_activity,
    "AzureFunctionActivity": azure_function,
    "Copy": copy_activity,
    "Lookup": lookup,
    "GetMetadata": get_metadata,
    "Script": script,
    "Delete": delete,
    "Validation": validation,
}

"""Which module does the work of which activity type (containers and variables are in control.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.factory.control import Call
from local.factory.copying import copy_activity
from local.factory.lookups import get_metadata, lookup
from local.factory.scripts import delete, script, validation
from local.factory.web import azure_function, web_activity

HANDLERS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "WebActivity": web_activity,
    "AzureFunctionActivity": azure_function,
    "Copy": copy_activity,
    "Lookup": lookup,
    "GetMetadata": get_metadata,
    "Script": script,
    "Delete": delete,
    "Validation": validation,
}

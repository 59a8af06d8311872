"""Which function does the work of which activity type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adf_runner.activities import control as containers
from adf_runner.activities.copy import copy_activity
from adf_runner.activities.lookup import get_metadata, lookup
from adf_runner.activities.scripts import delete, script, validation
from adf_runner.activities.sql_server import stored_procedure
from adf_runner.activities.web import azure_function, web_activity
from adf_runner.run.engine import Call

HANDLERS: dict[str, Callable[[Call], dict[str, Any]]] = {
    **containers.HANDLERS,
    "WebActivity": web_activity,
    "AzureFunctionActivity": azure_function,
    "Copy": copy_activity,
    "Lookup": lookup,
    "GetMetadata": get_metadata,
    "Script": script,
    "SqlServerStoredProcedure": stored_procedure,
    "Delete": delete,
    "Validation": validation,
}

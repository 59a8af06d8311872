"""Constants, checked against the types that are declared for them: defaults, arguments and values of variables.

What an expression gives is known at run time only; the executor checks it there by the same table (rules.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adf_runner.errors import Finding
from adf_runner.factory.model import Dataset, Factory, LinkedService, Pipeline
from adf_runner.factory.shapes import is_dynamic, json_type
from adf_runner.run.rules import PARAMETER_TYPES, VARIABLE_TYPES, fits


def lint_types(factory: Factory) -> Iterator[Finding]:
    """Check the defaults of parameters and variables, and global parameters."""
    holders: list[Pipeline | Dataset | LinkedService] = [*factory.pipelines.values(), *factory.datasets.values()]
    for holder in (*holders, *factory.linked_services.values()):
        for name, declared in holder.parameters.items():
            path = f"parameters.{name}.defaultValue"
            default = declared.get("defaultValue")
            yield from argument(holder.file, path, default, declared, name)
            if str(declared.get("type")).lower() == "securestring" and default:
                message = "holds a secret inline; give it when the run starts, from Key Vault"
                yield Finding(file=holder.file, path=path, message=message, kind="advice")
    for pipeline in factory.pipelines.values():
        for name, declared in pipeline.variables.items():
            yield from variable(
                pipeline.file, f"variables.{name}.defaultValue", declared.get("defaultValue"), declared, name
            )
    for relative, document in factory.documents.items():
        properties = document.get("properties") if isinstance(document, Mapping) else None
        if relative.startswith("factory/") and isinstance(properties, Mapping):
            declarations = properties.get("globalParameters")
            for name, declared in declarations.items() if isinstance(declarations, Mapping) else ():
                if isinstance(declared, Mapping):
                    path = f"globalParameters.{name}.value"
                    yield from argument(f"{factory.root}/{relative}", path, declared.get("value"), declared, name)


def argument(file: str, path: str, value: Any, declared: Mapping[str, Any], name: str) -> Iterator[Finding]:
    """Check a constant for a parameter; expressions, null and unknown types pass."""
    types = PARAMETER_TYPES.get(str(declared.get("type")).lower())
    yield from _ill_typed(file, path, value, types, f"{name!r} is declared as {declared.get('type')}")


def variable(file: str, path: str, value: Any, declared: Mapping[str, Any], name: str) -> Iterator[Finding]:
    """Check a constant for a variable."""
    types = VARIABLE_TYPES.get(str(declared.get("type")))
    yield from _ill_typed(file, path, value, types, f"{name!r} is declared as {declared.get('type')}")


def _ill_typed(file: str, path: str, value: Any, types: tuple[type, ...] | None, declared: str) -> Iterator[Finding]:
    if types is not None and not is_dynamic(value) and not fits(value, types):
        yield Finding(file=file, path=path, message=f"is {json_type(value)}, and {declared}", kind="not run")

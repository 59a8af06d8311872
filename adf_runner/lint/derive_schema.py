"""Derives azure_schema.json from the models of azure-mgmt-datafactory: what Azure itself accepts, in a small file.

Not part of a run. Where the package is installed: `python -m adf_runner.lint.derive_schema` rewrites the file, and a
second run leaves git clean. Every type is taken. The models are walked, not instantiated;
their docstrings give the type of every field that is declared as Any.

A property is one string: kind, then `!` when it is required. Kinds: string integer number boolean any, `model:Name`,
`enum:Name`, `list:kind`, `map:kind`, and `any:kind` for a value that may as well be an expression.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("azure_schema.json")
ROOTS = {
    "pipeline": "Pipeline",
    "dataset": "Dataset",
    "linkedService": "LinkedService",
    "trigger": "Trigger",
    "factory": "FactoryProperties",
    "dataflow": "DataFlow",
    "integrationRuntime": "IntegrationRuntime",
    "credential": "Credential",
}
DOCUMENTED_TYPES = {
    "string": "string", "int": "integer", "integer": "integer", "long": "integer", "double": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "array": "array", "object": "object",
}  # fmt: skip
SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
# What Data Factory documents and Studio writes, though the models lack it.
BEYOND = {
    "AzurePostgreSqlSource": {"partitionOption": "any:string"},
    "Pipeline": {"lastPublishTime": "string"},
    "AzurePostgreSqlLinkedService": {"version": "string"},
    "PipelineReference": {},
    "PipelinePolicy": {"cancelAfter": "any"},
    "CustomEventsTriggerTypeProperties": {"advancedFilters": "any"},
    "AzurePostgreSqlLinkedServiceTypeProperties": {"authenticationType": "string"},
    "FactoryProperties": {"globalConfigurations": "any", "trustModeClaimForMi": "any"},
}
BEYOND_ENUMS = {"WebActivityMethod": ["PATCH"], "VariableType": ["Boolean", "Integer"]}


class Deriver:
    """Walks the models from the roots and keeps what is reached."""

    def __init__(self, models: Any) -> None:
        self.source = models
        self.models: dict[str, dict[str, str]] = {}
        self.kinds: dict[str, dict[str, str]] = {}
        self.enums: dict[str, list[str]] = {}

    def model(self, cls: Any) -> str:
        """Take a model, and for a polymorphic one its subtypes; return its kind."""
        name = cls.__name__
        subtypes = self.subtypes(cls)
        if subtypes and name not in self.kinds:
            self.kinds[name] = {}
            for value, subtype in sorted(subtypes.items()):
                self.take(subtype)
                self.kinds[name][value] = subtype.__name__
        elif not subtypes:
            self.take(cls)
        return f"model:{name}"

    def subtypes(self, cls: Any) -> dict[str, Any]:
        """Return discriminator value -> class of all concrete subtypes, however deep."""
        found: dict[str, Any] = {}
        own = cls.__dict__.get("__mapping__") or {}
        for value, subtype in own.items():
            deeper = self.subtypes(subtype)
            found |= deeper or {value: subtype}
            found.setdefault(value, subtype)
        return found

    def take(self, cls: Any) -> None:
        name = cls.__name__
        if name in self.models:
            return
        self.models[name] = {}
        docs = documentation(cls)
        hints = hints_of(cls, self.source)
        for attribute, field in cls.__new__(cls)._attr_to_rest_field.items():  # noqa: SLF001 - the models have no other way in
            rest = field._rest_name  # noqa: SLF001
            told = docs.get(attribute, "")
            required = re.search(r"Required\.", told) is not None
            self.models[name][rest] = self.kind(hints.get(attribute, Any), told) + ("!" if required else "")
        self.models[name] |= BEYOND.get(name, {})

    def kind(self, hint: Any, told: str) -> str:
        origin, arguments = typing.get_origin(hint), [item for item in typing.get_args(hint) if item is not type(None)]
        if origin in (typing.Union, types.UnionType):
            enums = [item for item in arguments if isinstance(item, type) and issubclass(item, enum.Enum)]
            if enums:
                return self.enum(enums[0])
            return self.kind(arguments[0], told) if len(arguments) == 1 else "any"
        if origin is typing.Literal:
            return "string"
        if origin is list:
            return f"list:{self.kind(arguments[0], '')}"
        if origin is dict:
            return f"map:{self.kind(arguments[1], '')}"
        if hint in SCALARS:
            return SCALARS[hint]
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self.enum(hint)
        if isinstance(hint, type) and any(base.__name__ == "Model" for base in hint.__mro__):
            return self.model(hint)
        documented = re.search(r"Type: (\w+)", told)
        kind = DOCUMENTED_TYPES.get(documented[1].lower(), "") if documented else ""
        return f"any:{kind}" if kind else "any"

    def enum(self, cls: type[enum.Enum]) -> str:
        values = [str(member.value) for member in cls] + BEYOND_ENUMS.get(cls.__name__, [])
        self.enums[cls.__name__] = sorted(values)
        return f"enum:{cls.__name__}"


def documentation(cls: Any) -> dict[str, str]:
    """Return what the docstring says of each attribute."""
    found = re.findall(r":ivar (\w+): (.*?)(?=\n\s*:vartype)", cls.__doc__ or "", re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def hints_of(cls: Any, models: Any) -> dict[str, Any]:
    """Return the types of a model's fields."""
    public = importlib.import_module("azure.mgmt.datafactory.models")
    everything = types.SimpleNamespace(**{**vars(public), **vars(models)})
    namespace = {**vars(typing), **vars(sys.modules[cls.__module__]), **vars(public), "_models": everything}
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, hint in inspect.get_annotations(base).items():
            if not name.startswith("_"):
                found[name] = resolve(hint, namespace)
    return found


def resolve(hint: Any, namespace: dict[str, Any]) -> Any:
    """Evaluate a forward reference, at whatever depth."""
    return typing.get_type_hints(types.SimpleNamespace(__annotations__={"hint": hint}), namespace, namespace)["hint"]


def derive() -> dict[str, Any]:
    """Return the whole schema as JSON."""
    package = importlib.import_module("azure.mgmt.datafactory")
    models = importlib.import_module("azure.mgmt.datafactory.models")
    inner = importlib.import_module("azure.mgmt.datafactory.models._models")
    deriver = Deriver(inner)
    for cls_name in ROOTS.values():
        deriver.model(getattr(models, cls_name, None) or getattr(inner, cls_name))
    return {
        "source": f"azure-mgmt-datafactory {package.__version__}",
        "roots": ROOTS,
        "kinds": dict(sorted(deriver.kinds.items())),
        "models": dict(sorted(deriver.models.items())),
        "enums": dict(sorted(deriver.enums.items())),
    }


def render(schema: Mapping[str, Any]) -> str:
    """Return the file's text: one model a line, so that a diff can be read."""
    lines = ["{", f' "source": {json.dumps(schema["source"])},', f' "roots": {json.dumps(schema["roots"])},']
    for part in ("kinds", "models", "enums"):
        items = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in schema[part].items()]
        lines += [f' "{part}": {{', ",\n".join(items), " }" + ("," if part != "enums" else "")]
    return "\n".join([*lines, "}", ""])


def main() -> int:
    """Write the file; exit 1 where the package is not installed."""
    try:
        schema = derive()
    except ImportError:
        print(
            "error: azure-mgmt-datafactory is not installed\nhint: pip install azure-mgmt-datafactory==10.0.0",
            file=sys.stderr,
        )
        return 1
    TARGET.write_text(render(schema), "utf-8")
    print(f"{TARGET.name}: {len(schema['models'])} models, {TARGET.stat().st_size // 1024} KB, from {schema['source']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What Azure or good sense would refuse in a factory, found before anything runs.

Reading (model.py) has checked each file by itself; this module looks at the whole. Pipelines are in lint_activities.py and
lint_order.py, expressions, types and triggers in the modules called after them.
A finding that blocks would make a run wrong; the rest is advice that only `./sealift adf check` shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from adf_runner.errors import Finding
from adf_runner.factory import subset
from adf_runner.factory.model import Factory
from adf_runner.factory.shapes import is_dynamic, is_expression_object
from adf_runner.lint.activities import LOCATION_SERVICES, layout, pipeline_findings
from adf_runner.lint.expressions import lint_expressions, strings
from adf_runner.lint.order import pipeline_cycles
from adf_runner.lint.references import name_rules, objects, reference
from adf_runner.lint.triggers import lint_triggers
from adf_runner.lint.types import lint_types

SECRET_TEXT = re.compile(
    r"(AccountKey=|SharedAccessSignature=|[?&]sig=[A-Za-z0-9%/+]{20}|password=[^;@\s]|-----BEGIN [A-Z ]*PRIVATE KEY)",
    re.IGNORECASE,
)


def lint(factory: Factory) -> list[Finding]:
    """Return every finding, in the order of files and places."""
    findings = [*_services(factory), *_datasets(factory), *_unused(factory)]
    for pipeline in factory.pipelines.values():
        findings += pipeline_findings(factory, pipeline)
        findings += lint_expressions(factory, pipeline)
    findings += lint_triggers(factory)
    findings += lint_types(factory)
    findings += pipeline_cycles(factory)
    findings += _secrets(factory)
    findings += _near_expressions(factory)
    return sorted(findings, key=lambda finding: finding.file)


def _services(factory: Factory) -> Iterator[Finding]:
    for service in factory.linked_services.values():
        yield from name_rules(service.file, service.name)
        for path, value in objects(service.properties, ""):
            if value.get("type") == "AzureKeyVaultSecret":
                yield from reference(
                    service.file,
                    f"{path}.store",
                    value.get("store"),
                    factory.linked_services,
                    "linked service",
                    ["AzureKeyVault"],
                )
        if service.type == "Sftp":
            yield from _sftp(service.file, service.properties)
        yield from _unused_parameters(service.file, service.parameters, service.properties, "linkedService")


def _sftp(file: str, properties: Mapping[str, Any]) -> Iterator[Finding]:
    wanted = "password" if properties.get("authenticationType") == "Basic" else "privateKeyContent"
    if wanted not in properties:
        yield Finding(
            file=file, path="", message=f"authenticationType {properties.get('authenticationType')} needs {wanted!r}"
        )
    pinned = properties.get("hostKeyFingerprint")
    if isinstance(pinned, str) and not is_dynamic(pinned) and not subset.FINGERPRINT.fullmatch(pinned):
        yield Finding(
            file=file,
            path="hostKeyFingerprint",
            message="has neither the form 'ssh-rsa 2048 aa:bb:..' nor 'SHA256:...'",
        )


def _datasets(factory: Factory) -> Iterator[Finding]:
    for dataset in factory.datasets.values():
        yield from name_rules(dataset.file, dataset.name)
        location = dataset.properties.get("location")
        kind = location.get("type") if isinstance(location, Mapping) else None
        wanted = [LOCATION_SERVICES[kind]] if kind in LOCATION_SERVICES else ["AzurePostgreSql"]
        yield from reference(
            dataset.file, "linkedServiceName", dataset.linked_service, factory.linked_services, "linked service", wanted
        )
        yield from layout(dataset.file, "", dataset)
        used = {**dataset.properties, "linkedServiceName": dataset.linked_service}
        yield from _unused_parameters(dataset.file, dataset.parameters, used, "dataset")


def _unused_parameters(file: str, parameters: Mapping[str, Any], value: Any, scope: str) -> Iterator[Finding]:
    from adf_runner.lint.expressions import used_names

    used, dynamic = used_names(value, scope)
    for name in parameters:
        if name.lower() not in used and not dynamic:
            yield Finding(file=file, path=f"parameters.{name}", message="is declared and never used", blocking=False)


def _unused(factory: Factory) -> Iterator[Finding]:
    """Say which datasets and linked services nothing refers to."""
    referred: set[tuple[str, str]] = set()
    for relative, document in factory.documents.items():
        for _, value in objects(document, ""):
            if isinstance(value.get("referenceName"), str) and not relative.endswith(f"/{value['referenceName']}.json"):
                referred.add((str(value.get("type")), value["referenceName"]))
    for kind, items in (("DatasetReference", factory.datasets), ("LinkedServiceReference", factory.linked_services)):
        for name, item in items.items():
            if (kind, name) not in referred:
                yield Finding(file=item.file, path="", message="nothing refers to it", blocking=False)


def _near_expressions(factory: Factory) -> Iterator[Finding]:
    """Find objects that were meant as {"type": "Expression", "value": ...} and are none: they would pass as plain data."""
    for relative, document in factory.documents.items():
        for path, value in objects(document, ""):
            if "Expression" in value.values() and not (is_expression_object(value) or "content" in value):
                message = 'is almost an expression; it must be {"value": "@...", "type": "Expression"} and nothing else'
                yield Finding(file=f"{factory.root}/{relative}", path=path.removeprefix("properties."), message=message)


def _secrets(factory: Factory) -> Iterator[Finding]:
    for relative, document in factory.documents.items():
        for path, text in strings(document, ""):
            if SECRET_TEXT.search(text):
                yield Finding(
                    file=f"{factory.root}/{relative}",
                    path=path,
                    message="looks like a secret inline; put it into Key Vault",
                )

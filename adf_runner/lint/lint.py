"""What Azure or good sense would refuse in a factory, found before anything runs.

Reading (model.py) has checked each file by itself; this module looks at the whole. Pipelines are in lint_activities.py and
lint_order.py, expressions, types and triggers in the modules called after them.
`findings` is all of it: what reading found, in Azure's words where Azure has some, and what this module adds.
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
from adf_runner.lint.azure_schema import with_azure
from adf_runner.lint.expressions import lint_expressions, strings
from adf_runner.lint.order import pipeline_cycles
from adf_runner.lint.references import name_rules, objects, reference
from adf_runner.lint.triggers import lint_triggers
from adf_runner.lint.types import lint_types

TABLE_SERVICES = {
    "AzurePostgreSqlTable": ["AzurePostgreSql"],
    "AzureSqlTable": ["AzureSqlDatabase"],
    "AzureSqlMITable": ["AzureSqlMI"],
    "SqlServerTable": ["SqlServer"],
    "RestResource": ["RestService"],
}
ENDS = ("source", "sink", "storeSettings", "formatSettings", "translator", "fieldList")
SECRET_TEXT = re.compile(
    r"(AccountKey=|SharedAccessSignature=|[?&]sig=[A-Za-z0-9%/+]{20}|password=[^;@\s]|-----BEGIN [A-Z ]*PRIVATE KEY)",
    re.IGNORECASE,
)


def findings(factory: Factory) -> list[Finding]:
    """Return every finding about a factory, once each, in the order of files: one cause gives one finding."""
    found = _first_causes(factory, [*with_azure(factory), *lint(factory)])
    unique = {(finding.file, finding.path, finding.message): finding for finding in found}
    return sorted(unique.values(), key=lambda finding: finding.file)


def _first_causes(factory: Factory, found: list[Finding]) -> list[Finding]:
    """Leave out what follows from a connector that is not run: its datasets' types, and the ends of copies with those."""
    follow: set[tuple[str, str]] = set()
    strange: set[str] = set()
    for dataset in factory.datasets.values():
        service = factory.linked_services.get(str(dataset.linked_service.get("referenceName")))
        if service is not None and service.type not in subset.LINKED_SERVICES:
            follow |= {(dataset.file, ""), (dataset.file, "type"), (dataset.file, "location.type")}
            strange.add(dataset.name)
        elif dataset.type not in subset.DATASETS:
            strange.add(dataset.name)
    ends: dict[str, list[str]] = {}
    for pipeline in factory.pipelines.values():
        for activity in pipeline.walk():
            referred = [*activity.inputs, *activity.outputs, activity.properties.get("dataset")]
            names = {str(item.get("referenceName")) for item in referred if isinstance(item, Mapping)}
            if names & strange:
                ends.setdefault(pipeline.file, []).extend(f"{activity.path} {end}" for end in ENDS)

    def follows(finding: Finding) -> bool:
        if finding.kind != "not run":
            return False
        return (finding.file, finding.path) in follow or finding.path.startswith(tuple(ends.get(finding.file, ())))

    return [finding for finding in found if not follows(finding)]


def lint(factory: Factory) -> list[Finding]:
    """Return what the rules find that look at more than one file, or at more than its form."""
    found = [*_services(factory), *_datasets(factory), *_unused(factory)]
    for pipeline in factory.pipelines.values():
        found += pipeline_findings(factory, pipeline)
        found += lint_expressions(factory, pipeline)
    found += lint_triggers(factory)
    found += lint_types(factory)
    found += pipeline_cycles(factory)
    found += _secrets(factory)
    found += _near_expressions(factory)
    return sorted(found, key=lambda finding: finding.file)


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
        wanted = [LOCATION_SERVICES[kind]] if kind in LOCATION_SERVICES else TABLE_SERVICES.get(dataset.type, [])
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
            yield Finding(file=file, path=f"parameters.{name}", message="is declared and never used", kind="advice")


def _unused(factory: Factory) -> Iterator[Finding]:
    """Say which datasets and linked services nothing refers to."""
    referred: set[tuple[str, str]] = set()
    for relative, document in factory.documents.items():
        for _, value in objects(document, ""):
            if isinstance(value.get("referenceName"), str) and not relative.endswith(f"/{value['referenceName']}.json"):
                referred.add((str(value.get("type")), value["referenceName"].lower()))
    for kind, items in (("DatasetReference", factory.datasets), ("LinkedServiceReference", factory.linked_services)):
        for name, item in items.items():
            if (kind, name.lower()) not in referred:
                yield Finding(file=item.file, path="", message="nothing refers to it", kind="advice")


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
                    kind="advice",
                )

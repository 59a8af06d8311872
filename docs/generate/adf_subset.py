"""Writes docs/adf-subset.md from subset.py and the function table: `./sealift docs`. A test keeps it true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adf_runner.expressions import FUNCTIONS
from adf_runner.factory import subset
from adf_runner.factory.shapes import Shape

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "adf-subset.md"
INTRODUCTION = """# What the local executor runs

This page is generated from `adf_runner/factory/subset.py` (`./sealift docs`); a test keeps it equal.

The executor reads the files of `adf/` as Azure does and runs them on one machine. **What is not on this page is refused
by file, path and reason before anything runs; nothing is ignored or guessed.** Only addresses and credentials of linked
services, global parameters, the clock and sleep can be replaced from outside. A value may be an expression unless the
table says *constant*; `!` marks what must be there.

"""
CONTROL = """## Control flow

- Edges: any one condition of an edge is enough; all edges must hold. Completed is Succeeded or Failed, not Skipped.
- An activity whose edges do not hold is Skipped, and so is what depends on its success.
- A run, a branch and an iteration succeed when every leaf does; a skipped leaf is judged by its parents.
- ForEach continues after a failed iteration and then fails. Until continues after a failed iteration; its timeout makes it fail.
- `retry` and `retryIntervalInSeconds` repeat a failed activity, except where its own JSON is at fault.
- `secureInput` and `secureOutput` hide values from every record, message and picture; expressions still see them.
- Inactive activities take the status that `onInactiveMarkAs` gives them. `concurrency` holds across all runs in the process.
- `activity('X')` of an activity that did not run is an error, even with `?.`.

"""
CLOUD_ONLY = """## What only Azure can prove

| what | here |
|---|---|
| Copy's text for `timestamptz` | `yyyy-MM-dd HH:mm:ss.fffffff zzz`, in UTC; cast to text in the query where a partner reads it |
| Copy's text for `date`, floats with exponents | midnight as `yyyy-MM-dd HH:mm:ss.fffffff`; .NET's `1E+20` |
| types whose text is not documented (interval, time, bytea, arrays) | refused, with the cast that settles it |
| whether `UTF-8` ever gets a byte-order mark; UTF-16 and UTF-32 | no mark is written; the wide encodings are refused |
| a character that the encoding lacks | an error, where .NET writes `?` |
| quotes around empty text and around a value that equals `nullValue` | quoted, so that it differs from null |
| `quoteAllText` and nulls | nulls stay unquoted |
| a quoted value that equals `nullValue`, when it is read | null, as without quotes |
| a doubled quote inside a value where `escapeChar` is another character | refused, with the line |
| an escape inside quotes before any character but a quote or an escape | stands for itself |
| line breaks between JSON objects (`setOfObjects`) | CR LF |
| the status of an Until whose last turn had a failure | the expression decides: Succeeded |
| a String variable without a default | null |
| a parameter given a value of another type | refused, as is an unknown or missing one |
| whether a faulty expression is retried | it is not |
| whether the token goes along when WebActivity polls after a 202 | it does, to the same host only |
| error codes and output fields beyond those that Microsoft documents | close, not equal |
| throughput, parallel copies, staging, integration runtimes, networking | not measured here |
| managed identity, Key Vault, ARM, storage | the same SDK calls against stand-ins that speak the wire protocols |
| the SFTP algorithms that Data Factory negotiates | RSA keys only, host key by fingerprint, whatever paramiko agrees on |
| Windows time-zone names | mapped to IANA zones |
"""


def render() -> str:
    """Return the page."""
    parts = [
        INTRODUCTION,
        CONTROL,
        "## Activities\n\n",
        *activities(),
        "## Copy\n\n",
        *copies(),
        *connected(),
        *triggers(),
    ]
    parts += ["## Functions\n\n", functions(), CLOUD_ONLY]
    return "".join(parts)


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    head = "| property | value | note |\n|---|---|---|\n"
    return head + "".join(f"| {name} | {value} | {note} |\n" for name, value, note in rows) + "\n"


def value_of(shape: Shape) -> str:
    """Say in words what a property takes."""
    words = {"any": "any value", "timespan": "time span", "activities": "activities", "secret": "Key Vault secret",
             "expression": "expression object", "reference": shape.reference}.get(shape.kind, shape.kind)  # fmt: skip
    if shape.choices:
        words = ", ".join(f"`{str(item).lower() if isinstance(item, bool) else item}`" for item in shape.choices)
    elif shape.kind == "array" and shape.items is not None:
        words = f"array of {value_of(shape.items)}"
    elif shape.values is not None:
        words = f"object of {value_of(shape.values)}"
    elif shape.by_type:
        words = "one of " + ", ".join(shape.by_type)
    elif shape.fields:
        words = f"object ({', '.join(shape.fields)})"
    if shape.low is not None or shape.high is not None:
        low, high = shape.low, shape.high
        if shape.kind == "timespan":
            words += f", {low // 60}..{(high or 0) // 60} minutes" if low else f", at most {(high or 0) / 3600:g} h"
        else:
            words += (
                f" {low}..{high}" if None not in (low, high) else f" from {low}" if high is None else f" up to {high}"
            )
    return words


def rows(fields: Mapping[str, Shape], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield a property, and the properties inside it where they are few enough to show."""
    for name, shape in fields.items():
        notes = [shape.note] if shape.note else []
        if not shape.dynamic and shape.kind not in {"reference", "activities", "expression", "object"}:
            notes.append("constant")
        yield f"`{prefix}{name}`{'!' if shape.required else ''}", value_of(shape), "; ".join(notes)
        if shape.kind == "object" and shape.fields:
            yield from rows(shape.fields, f"{prefix}{name}.")
        if shape.kind == "object" and name in {"authentication", "storeSettings", "formatSettings"}:
            for kind, inner in shape.by_type.items():
                yield from rows(inner, f"{prefix}{name}<{kind}>.")


def activities() -> Iterator[str]:
    policies = {
        "full": f"policy: {', '.join(subset.POLICIES['full'])}",
        "secure": "policy: secureInput, secureOutput",
        "input": "policy: secureInput",
        "none": "no policy",
    }
    yield (
        "Every activity has the properties name, description, dependsOn, userProperties, state, onInactiveMarkAs. userProperties "
        "`failureIsHandled` (with the reason as value) shows the lint that a failure path is meant to end well.\n\n"
    )
    for name, kind in subset.ACTIVITIES.items():
        outer = [policies[kind.policy]]
        outer += [f"linkedServiceName ({', '.join(kind.linked_service)})"] if kind.linked_service else []
        outer += ["one dataset each in inputs and outputs"] if kind.datasets else []
        note = f" {kind.note[0].upper()}{kind.note[1:]}." if kind.note else ""
        yield f"### {name}\n\n{'; '.join(outer)}.{note}\n\n"
        yield table(list(rows(kind.properties)))


def copies() -> Iterator[str]:
    for name, fields in {**subset.SOURCES, **subset.SINKS}.items():
        yield f"### {name} ({subset.DATASET_OF.get(name, 'any table of SQL Server')})\n\n"
        yield table(list(rows(fields)))
    yield f"### translator\n\n{table(list(rows(subset.TRANSLATOR.by_type['TabularTranslator'])))}"


def connected() -> Iterator[str]:
    yield "## Datasets\n\n"
    for name, fields in subset.DATASETS.items():
        yield f"### {name}\n\n{table(list(rows(fields)))}"
    yield "### location\n\n"
    yield table([row for kind, inner in subset.LOCATIONS.by_type.items() for row in rows(inner, f"{kind}.")])
    yield "Encodings: " + ", ".join(f"`{name}`" for name in subset.ENCODINGS) + ".\n\n"
    yield "## Linked services\n\n"
    for name, fields in subset.LINKED_SERVICES.items():
        version = subset.LINKED_SERVICE_VERSIONS.get(name)
        yield f"### {name}{f' (version {version})' if version else ''}\n\n{table(list(rows(fields)))}"


def triggers() -> Iterator[str]:
    yield "## Triggers\n\n"
    for name, fields in subset.TRIGGERS.items():
        yield f"### {name}\n\n{table(list(rows(fields)))}"


def functions() -> str:
    names = sorted((function.name for function in FUNCTIONS.values()), key=str.lower)
    return (
        f"{len(names)}, all that Data Factory documents and its scopes: "
        + ", ".join(f"`{name}`" for name in names)
        + ".\n\n"
    )

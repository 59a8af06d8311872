"""A stage file: which factory, what differs there, what the tool must leave alone.

    {"factory": "${SEALIFT_FACTORY_ID}", "maxDelete": 10, "keep": ["integrationRuntime.*"],
     "overrides": {"linkedService.raw_storage": {"typeProperties.serviceEndpoint": "${SEALIFT_RAW_STORAGE_URL}"},
                   "pipeline.deliver_*":        {"activities['Extract'].policy.retry": 3},
                   "linkedService.function_app": {"+typeProperties.authentication": "MSI"}}}

An override that changes nothing is a mistake that waits: an item that is not there, a path that is not there, an added
(`+`) path that is there already and a variable that is not set are all errors.
"""

from __future__ import annotations

import copy
import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from infra.deploy.errors import InvalidSource, MissingSettingError
from infra.deploy.source import COLLECTIONS, Item, Key

VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\['([^']+)'\]|\[(\d+)\]")
FACTORY_ID = re.compile(
    r"/subscriptions/[\w-]+/resourceGroups/[^/]+/providers/Microsoft\.DataFactory/factories/([\w-]+)", re.IGNORECASE
)
FIELDS = {"factory", "maxDelete", "keep", "overrides"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    name: str
    factory_id: str
    max_delete: int = 10
    keep: tuple[str, ...] = ()
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def factory(self) -> str:
        return self.factory_id.rsplit("/", 1)[-1]


def load_stage(path: Path, variables: Mapping[str, str]) -> Stage:
    """Read a stage file and fill in its ${VARIABLES}."""
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.json")))
        raise InvalidSource(f"there is no stage {path.stem!r}", f"the stages are {known}")
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidSource(f"{path}: {error}", "fix the JSON") from error
    if unknown := set(body) - FIELDS:
        raise InvalidSource(f"{path}: unknown field {min(unknown)!r}", f"the fields are {', '.join(sorted(FIELDS))}")
    for pattern in body.get("overrides", {}):
        if pattern.partition(".")[0] not in COLLECTIONS:
            raise InvalidSource(f"{path}: {pattern!r} names no kind of item", f"kinds are {', '.join(COLLECTIONS)}")
    body = _fill(body, variables, path)
    if not FACTORY_ID.fullmatch(body.get("factory", "")):
        raise InvalidSource(
            f"{path}: {body.get('factory')!r} is not the id of a data factory", "see infra/stages/dev.json"
        )
    return Stage(
        name=path.stem,
        factory_id=body["factory"],
        max_delete=body.get("maxDelete", 10),
        keep=tuple(body.get("keep", ())),
        overrides=body.get("overrides", {}),
    )


def _fill(value: Any, variables: Mapping[str, str], path: Path) -> Any:
    """Replace ${NAME} in every text below `value`."""
    if isinstance(value, dict):
        return {key: _fill(part, variables, path) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, variables, path) for part in value]
    if not isinstance(value, str):
        return value

    def find(match: re.Match[str]) -> str:
        if not variables.get(match[1]):
            message = f"{path} needs {match[1]}, which is not set"
            raise MissingSettingError(message, 'load what azd knows: set -a; eval "$(azd env get-values)"; set +a')
        return variables[match[1]]

    return VARIABLE.sub(find, value)


def apply_overrides(items: Mapping[Key, Item], stage: Stage) -> dict[Key, Item]:
    """The items as this stage wants them; raises InvalidSource for an override that meets nothing."""
    changed = dict(items)
    for pattern, values in stage.overrides.items():
        kind, _, name_pattern = pattern.partition(".")
        met = [item for item in changed.values() if item.kind == kind and fnmatch.fnmatchcase(item.name, name_pattern)]
        if not met:
            names = [item.name for item in items.values() if item.kind == kind]
            close = get_close_matches(name_pattern, names, n=1)
            hint = (
                f"did you mean {kind}.{close[0]}?" if close else f"there is: {', '.join(names) or 'none of this kind'}"
            )
            raise InvalidSource(f"stage {stage.name!r}: nothing is named {pattern!r}", hint)
        for item in met:
            properties = copy.deepcopy(dict(item.properties))
            for path, value in values.items():
                _set(properties, path, value, where=f"stage {stage.name!r}: {item.title}")
            changed[item.key] = replace(item, properties=properties)
    return changed


def _set(properties: dict[str, Any], path: str, value: Any, where: str) -> None:
    is_new = path.startswith("+")
    steps = _steps(path.removeprefix("+"), where)
    node: Any = properties
    for step in steps[:-1]:
        node = _child(node, step, path, where)
    last = steps[-1]
    exists = _has(node, last)
    if is_new and (exists or not isinstance(node, dict)):
        raise InvalidSource(f"{where}: {path!r} is there already", "drop the + to replace it")
    if not is_new and not exists:
        known = ", ".join(map(str, _names(node))) or "nothing"
        raise InvalidSource(f"{where}: there is no {path!r}", f"{last!r} is not one of {known}; +{path} would add it")
    if isinstance(node, list):
        node[_index(node, last)] = value
    else:
        node[last] = value


def _steps(path: str, where: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 0
    while position < len(path):
        match = STEP.match(path, position)
        if not match:
            raise InvalidSource(f"{where}: {path!r} is not a path", "write a.b, a['name with spaces'].b or a[0].b")
        steps.append(int(match[3]) if match[3] else match[1] or match[2])
        position = match.end()
    if not steps:
        raise InvalidSource(f"{where}: an empty path", "write a.b, a['name with spaces'].b or a[0].b")
    return steps


def _child(node: Any, step: str | int, path: str, where: str) -> Any:
    if not _has(node, step):
        known = ", ".join(map(str, _names(node))) or "nothing"
        raise InvalidSource(f"{where}: there is no {path!r}", f"{step!r} is not one of {known}")
    return node[_index(node, step)] if isinstance(node, list) else node[step]


def _has(node: Any, step: str | int) -> bool:
    if isinstance(node, list):
        return step in range(len(node)) if isinstance(step, int) else step in _names(node)
    return isinstance(node, dict) and step in node


def _index(node: list[Any], step: str | int) -> int:
    return step if isinstance(step, int) else _names(node).index(step)


def _names(node: Any) -> list[Any]:
    """What a step from here may say: the keys of an object, the names of a list's members."""
    if isinstance(node, dict):
        return list(node)
    if isinstance(node, list):
        return [part.get("name") if isinstance(part, dict) else None for part in node]
    return []

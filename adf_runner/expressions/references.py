"""What an expression uses, found without running it: for the lint."""

from __future__ import annotations

from dataclasses import dataclass

from adf_runner.expressions.syntax import Access, Call, Literal, Node, parse, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The names an expression uses. Names that are computed at run time are not in here; `dynamic` then says so."""

    activities: frozenset[str]
    variables: frozenset[str]
    parameters: frozenset[str]
    global_parameters: frozenset[str]
    dataset: frozenset[str]
    linked_service: frozenset[str]
    functions: frozenset[str]
    item: bool
    dynamic: bool


def references(text: str) -> References:
    """Return what one string of a pipeline uses; raises InvalidSyntax when it does not parse."""
    found: dict[str, set[str]] = {
        name: set()
        for name in (
            "activities",
            "variables",
            "parameters",
            "global_parameters",
            "dataset",
            "linked_service",
            "functions",
        )
    }
    dynamic = False
    for node in walk(parse(text)):
        if isinstance(node, Call):
            found["functions"].add(node.name.lower())
            group = {"activity": "activities", "variables": "variables"}.get(node.name.lower())
            if group and node.arguments:
                name = constant_text(node.arguments[0])
                dynamic = dynamic or name is None
                found[group].update({name} if name is not None else ())
        elif isinstance(node, Access):
            group = scope_group(node.target)
            if group:
                name = constant_text(node.key)
                dynamic = dynamic or name is None
                found[group].update({name} if name is not None else ())
    return References(
        **{name: frozenset(names) for name, names in found.items()}, item="item" in found["functions"], dynamic=dynamic
    )


def scope_group(target: Node) -> str | None:
    """Return the group of names that a member access reads, such as `dataset`; None for others."""
    if isinstance(target, Call):
        return {"dataset": "dataset", "linkedservice": "linked_service"}.get(target.name.lower())
    if isinstance(target, Access) and isinstance(target.target, Call) and target.target.name.lower() == "pipeline":
        name = constant_text(target.key)
        return {"parameters": "parameters", "globalparameters": "global_parameters"}.get((name or "").lower())
    return None


def constant_text(node: Node) -> str | None:
    """Return the text of a constant; None for what must be evaluated."""
    return node.value if isinstance(node, Literal) and isinstance(node.value, str) else None

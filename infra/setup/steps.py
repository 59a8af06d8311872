"""The steps of a stage's setup, in their order: `set_up` does what is open, `look` only says how each stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fault import Fault
from infra.setup import checks, making
from infra.setup.checks import State
from infra.setup.site import Site


class Stopped(Fault):
    """Setup cannot go on: a person has to act, or said no."""

    status = 409


@dataclass(frozen=True, slots=True)
class Step:
    """`state` reads only; `make` changes what `words` announce, and is None where only a person can act."""

    name: str
    state: Callable[[Site], State]
    make: Callable[[Site], None] | None = None
    words: str = ""


STEPS = (
    Step("tools", checks.tool_versions),
    Step("stage file", checks.stage_file),
    Step("sign-in", checks.sign_in, checks.use_one_sign_in, "let azd use the sign-in of az"),
    Step("partners' secrets", making.secrets_file),
    Step("rights", checks.rights),
    Step("providers", checks.providers, checks.register, "register what the subscription does not know yet; free"),
    Step("region", checks.region),
    Step("quotas", checks.quotas),
    Step("names", checks.names, checks.recover_vault, "recover the deleted vault, with its keys and secrets"),
    Step(
        "environment", making.environment, making.make_environment, "write the stage's settings into azd's environment"
    ),
    Step(
        "resources",
        making.resources,
        making.provision,
        "make or update everything of infra/main.bicep and dbt's image; about 18 dollars a month, 35 with the warehouse, and"
        " more with opt-ins (docs/cost.md)",
    ),
    Step(
        "warehouse",
        making.warehouse_roles,
        making.make_warehouse_roles,
        "make roles and rights in the warehouse, and a password that only the vault and Data Factory know",
    ),
    Step(
        "SFTP keys",
        making.sftp_keys,
        making.make_sftp_keys,
        "make key pairs for the partners' servers; private halves go into the vault",
    ),
    Step(
        "app and pipelines",
        making.app,
        making.deploy,
        "deploy the function app and adf/, and ask the app; triggers stay stopped",
    ),
)


def look(site: Site) -> Iterator[tuple[Step, State]]:
    """Yield how each step stands, up to the first that keeps the rest from being asked."""
    for step in STEPS:
        state = _state(step, site)
        yield step, state
        if state.kind == "wrong":
            return


def set_up(site: Site, agree: Callable[[Step, State], bool]) -> int:
    """Do what is open, each after `agree`; return how many steps changed something. Raises Stopped and other Faults."""
    made = 0
    for step in STEPS:
        state = _state(step, site)
        if state.kind == "open" and step.make:
            if not agree(step, state):
                raise Stopped(f"stopped before: {step.name}", "run the same command again to go on here")
            step.make(site)
            made += 1
            state = _state(step, site)
        if state.kind != "done":
            raise Stopped(f"{step.name}: {state.text}", state.action or "run the same command again in some minutes")
        site.say(f"  + {step.name}: {state.text}")
    return made


def _state(step: Step, site: Site) -> State:
    try:
        return step.state(site)
    except Fault as fault:
        return checks.wrong(fault.message, fault.hint)

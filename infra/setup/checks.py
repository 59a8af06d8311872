"""What must be so before anything is made. Each check reads only and returns a State with the one action that puts it right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from infra import tools
from infra.hooks import stage as stages
from infra.hooks.commands import HookFailed
from infra.setup.site import Site

LEAST = {"az": (2, 76), "azd": (1, 31)}
PROVIDERS = (
    "Microsoft.Authorization",
    "Microsoft.Consumption",
    "Microsoft.ContainerInstance",
    "Microsoft.ContainerRegistry",
    "Microsoft.DataFactory",
    "Microsoft.DBforPostgreSQL",
    "Microsoft.EventGrid",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.OperationalInsights",
    "Microsoft.Resources",
    "Microsoft.Storage",
    "Microsoft.Web",
)
FOR_VNET = "Microsoft.App"  # the subnet is delegated to it; no template registers it
ACTIONS = (
    "Microsoft.Resources/deployments/write",
    "Microsoft.Resources/subscriptions/resourceGroups/write",
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Storage/storageAccounts/write",
    "Microsoft.KeyVault/vaults/write",
    "Microsoft.Web/sites/write",
    "Microsoft.DataFactory/factories/write",
    "Microsoft.ContainerRegistry/registries/write",
    "Microsoft.ContainerInstance/containerGroups/write",
    "Microsoft.Insights/scheduledQueryRules/write",
    "Microsoft.Consumption/budgets/write",
)


@dataclass(frozen=True, slots=True)
class State:
    """How a step stands: done; open (setup does it); wrong (a person has to act: `action` says how)."""

    kind: Literal["done", "open", "wrong"]
    text: str
    action: str = ""


def done(text: str) -> State:
    return State("done", text)


def open_(text: str) -> State:
    return State("open", text)


def wrong(text: str, action: str) -> State:
    return State("wrong", text, action)


def tool_versions(_site: Site) -> State:
    """Both tools are there, and new enough."""
    found = {}
    for name, least in LEAST.items():
        try:
            text = tools.run([name, "version"])
        except tools.ToolFailed as error:
            return wrong(str(error), error.hint)
        numbers = re.search(r"(\d+)\.(\d+)[\w.]*", text)
        if numbers is None or (int(numbers[1]), int(numbers[2])) < least:
            said = numbers[0] if numbers else "an unknown version"
            return wrong(f"{name} is {said}, and {'.'.join(map(str, least))} is needed", f"{name} upgrade")
        found[name] = numbers[0]
    return done(", ".join(f"{name} {version}" for name, version in found.items()))


def stage_file(site: Site) -> State:
    """The stage's settings are somebody's."""
    try:
        stages.refuse_examples(site.stage, site.settings)
    except HookFailed as error:
        return wrong(str(error), error.hint)
    return done(f"{len(site.settings)} settings, in {site.location}")


def sign_in(site: Site) -> State:
    """Somebody is signed in with az; azd uses that sign-in."""
    try:
        account = site.account
    except tools.ToolFailed as error:
        return wrong(f"nobody is signed in: {str(error)[:200]}", "az login")
    if account.get("state", "Enabled") != "Enabled":
        return wrong(f"the subscription {account['name']} is {account['state']}", "az account set --subscription NAME")
    if not _shares_sign_in():
        return open_("azd has a sign-in of its own")
    return done(f"{account['user']['name']}, subscription {account['name']}")


def _shares_sign_in() -> bool:
    try:
        return "true" in tools.run(["azd", "config", "get", "auth.useAzCliAuth"])
    except tools.ToolFailed:  # nothing is stored there
        return False


def use_one_sign_in(_site: Site) -> None:
    tools.run(["azd", "config", "set", "auth.useAzCliAuth", "true"])


def needed_actions(site: Site) -> list[str]:
    """Return the actions that this stage's template needs on the subscription."""
    more = {
        "Microsoft.Authorization/roleDefinitions/write": site.is_on("SEALIFT_USE_CUSTOM_ROLE", default=True),
        "Microsoft.Authorization/locks/write": site.is_on("SEALIFT_DELETE_LOCK"),
        "Microsoft.DBforPostgreSQL/flexibleServers/write": site.is_on("SEALIFT_CREATE_WAREHOUSE", default=True),
        "Microsoft.Network/virtualNetworks/write": site.uses_vnet,
    }
    return [*ACTIONS, *(action for action, is_needed in more.items() if is_needed)]


def rights(site: Site) -> State:
    """Who is signed in may do what the template does; else the first action that is missing."""
    permissions: list[dict[str, Any]] = site.get("providers/Microsoft.Authorization/permissions", "2022-04-01")["value"]
    missing = [action for action in needed_actions(site) if not _may(permissions, action)]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        role = "User Access Administrator" if "Authorization" in missing[0] else "Contributor"
        return wrong(
            f"{site.account['user']['name']} may not {missing[0]}{more}",
            f"ask an owner of the subscription for the role {role} there, then: az login",
        )
    return done(f"all {len(needed_actions(site))} actions are allowed")


def _may(permissions: Iterable[dict[str, Any]], action: str) -> bool:
    """Return whether one of the roles allows an action: a role's exceptions take away from that role only."""
    return any(
        _fits(role.get("actions", ()), action) and not _fits(role.get("notActions", ()), action) for role in permissions
    )


def _fits(patterns: Iterable[str], action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


def _unregistered(site: Site) -> list[str]:
    wanted = {*PROVIDERS, *([FOR_VNET] if site.uses_vnet else [])}
    found = {each["namespace"]: each["registrationState"] for each in site.az("provider", "list")}
    return sorted(name for name in wanted if found.get(name) != "Registered")


def providers(site: Site) -> State:
    """Every kind of resource is switched on in the subscription."""
    missing = _unregistered(site)
    return open_(f"not registered: {', '.join(missing)}") if missing else done("registered")


def register(site: Site) -> None:
    for name in _unregistered(site):
        site.say(f"    registering {name}")
        tools.run(["az", "provider", "register", "--namespace", name, "--wait"])


def region(site: Site) -> State:
    """The location offers what the template makes there."""
    other = "choose another location in the stage's file"
    groups = "resourceTypes[?resourceType=='containerGroups'].locations | [0]"
    if not _is_in(
        site.location, site.az("provider", "show", "--namespace", "Microsoft.ContainerInstance", "--query", groups)
    ):
        return wrong(f"{site.location} has no container instances", other)
    flex = [each["name"] for each in site.az("functionapp", "list-flexconsumption-locations")]
    if not _is_in(site.location, flex):
        return wrong(f"{site.location} has no Flex Consumption", other)
    if site.is_on("SEALIFT_CREATE_WAREHOUSE", default=True):
        burstable = site.settings.get("SEALIFT_WAREHOUSE_TIER", "Burstable") == "Burstable"
        size = "Standard_B1ms" if burstable else "Standard_D2ds_v5"
        try:
            offers = site.az("postgres", "flexible-server", "list-skus", "--location", site.location)
        except tools.ToolFailed as error:
            return wrong(f"PostgreSQL in {site.location}: {str(error)[:200]}", other)
        if size.lower() not in json.dumps(offers).lower():
            return wrong(f"this subscription gets no PostgreSQL of size {size} in {site.location}", other)
    return done(f"{site.location} offers all of it")


def _is_in(location: str, offered: Iterable[str]) -> bool:
    return location.lower() in {name.lower().replace(" ", "") for name in offered or ()}


def quotas(site: Site) -> State:
    """The container of dbt fits into the subscription's cores."""
    needed = int(site.settings.get("SEALIFT_DBT_CPU", "1"))
    path = f"providers/Microsoft.ContainerInstance/locations/{site.location}/usages"
    for usage in site.get(path, "2023-05-01")["value"]:
        if usage["name"]["value"] == "StandardCores" and usage["limit"] - usage["currentValue"] < needed:
            return wrong(
                f"{usage['currentValue']} of {usage['limit']} cores for containers are in use, and {needed} more are needed",
                "ask for more quota in the portal: Quotas, Container Instances",
            )
    return done("there is room for dbt's container")


def _deleted_vault(site: Site) -> str:
    """Return the name of a vault of this stage that was deleted and keeps its name for 90 days; else nothing."""
    for vault in site.az("keyvault", "list-deleted", "--resource-type", "vault"):
        properties = vault["properties"]
        if (properties.get("tags") or {}).get("azd-env-name") == site.stage and properties["location"] == site.location:
            return str(vault["name"])
    return ""


def names(site: Site) -> State:
    """No vault of an earlier stage holds the name."""
    name = _deleted_vault(site)
    return open_(f"{name} of an earlier {site.stage} was deleted and keeps its name and keys") if name else done("free")


def recover_vault(site: Site) -> None:
    """Bring the vault back, with its keys and secrets, into the group where the template looks for it."""
    name = _deleted_vault(site)
    tools.run(
        ["az", "group", "create", "--name", f"rg-sealift-{site.stage}", "--location", site.location, "--output", "none"]
    )
    tools.run(["az", "keyvault", "recover", "--name", name, "--location", site.location, "--output", "none"])

"""What setup makes, each with how to see that it is made: environment, resources, roles, keys, app and pipelines."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra import partner_secrets, tools
from infra.hooks import grants
from infra.partner_secrets import PartnerSecret
from infra.setup import warehouse
from infra.setup.checks import State, done, open_, wrong
from infra.setup.site import DEPLOYED, PROVISIONED, Site
from infra.setup.warehouse import Roles, WarehouseRefused
from infra.tools import ToolFailed

READER_SECRET = "warehouse-password"  # noqa: S105 - a name
RULE = "sealift-setup"
KEY_BITS = 4096


# -- azd's environment ------------------------------------------------------------------------------------------------


def _wanted(site: Site) -> dict[str, str]:
    """Return what azd's environment must hold before it provisions: the stage's file, and who administers the warehouse."""
    wanted = dict(site.settings)
    if site.account["user"]["type"] == "user":
        wanted.setdefault("SEALIFT_PRINCIPAL_NAME", site.account["user"]["name"])
    if "SEALIFT_BUDGET_START" not in site.values and (start := _budget_start(site)):
        wanted["SEALIFT_BUDGET_START"] = start
    return wanted


def _budget_start(site: Site) -> str:
    """Return when the stage's budget began, where there is one: that day can never be changed."""
    group = f"resourceGroups/rg-sealift-{site.stage}"
    try:
        found = site.get(f"{group}/providers/Microsoft.Consumption/budgets/sealift-{site.stage}", "2024-08-01")
    except ToolFailed as error:
        if "NotFound" in str(error) or "could not be found" in str(error):
            return ""
        raise
    return str(found["properties"]["timePeriod"]["startDate"])


def environment(site: Site) -> State:
    if not site.values:
        return open_(f"azd has no environment {site.stage}")
    differing = [name for name, value in _wanted(site).items() if site.values.get(name) != value]
    return (
        open_(f"differs from the stage's file: {', '.join(differing)}")
        if differing
        else done("as the stage's file says")
    )


def make_environment(site: Site) -> None:
    if not site.values:
        place = ["--subscription", str(site.account["id"]), "--location", site.location]
        tools.run(["azd", "env", "new", site.stage, "--no-prompt", *place])
        site.forget()
    pairs = [f"{name}={value}" for name, value in _wanted(site).items() if site.values.get(name) != value]
    if pairs:
        site.azd("env", "set", *pairs)
    site.forget()


# -- resources and app ------------------------------------------------------------------------------------------------


def secrets_file(_site: Site) -> State:
    """The grants that the template makes are those that partners/ names."""
    try:
        found = partner_secrets.check()
    except partner_secrets.SecretsUnclear as error:
        return wrong(str(error), error.hint)
    return done(f"{len(found)} secrets of the partners")


def resources(site: Site) -> State:
    if not site.values.get("SEALIFT_FACTORY_ID"):
        return open_("not made yet")
    if site.values.get(PROVISIONED) != site.fingerprint_of_infra():
        return open_("infra/, dbt_runner/ or the stage's file changed since they were made")
    return done(f"in {site.values.get('AZURE_RESOURCE_GROUP', 'their group')}")


def provision(site: Site) -> None:
    found = site.fingerprint_of_infra()
    site.azd("provision", "--no-prompt", show=True)
    site.forget()
    site.set_value(PROVISIONED, found)


def app(site: Site) -> State:
    if site.values.get(DEPLOYED) == site.fingerprint_of_app():
        return done("deployed, and it answers")
    return open_("app or adf/ changed since the last deployment" if site.values.get(DEPLOYED) else "not deployed yet")


def deploy(site: Site) -> None:
    found = site.fingerprint_of_app()
    site.azd("deploy", "--no-prompt", show=True)
    site.set_value(DEPLOYED, found)


# -- the warehouse ----------------------------------------------------------------------------------------------------


def _roles(site: Site) -> Roles:
    values = site.values
    takes_entra = values.get("SEALIFT_WAREHOUSE_TAKES_ENTRA", "").lower() == "true"
    return Roles(
        database=values["SEALIFT_WAREHOUSE_DATABASE"],
        dbt=values["SEALIFT_DBT_USER"],
        dbt_object_id=values["SEALIFT_DBT_PRINCIPAL_ID"] if takes_entra else "",
    )


def _connect(site: Site) -> psycopg.Connection:
    token = tools.run(
        [
            "az",
            "account",
            "get-access-token",
            "--resource-type",
            "oss-rdbms",
            "--query",
            "accessToken",
            "--output",
            "tsv",
        ]
    )
    # A member of a group that administers signs in under the group's name.
    user = site.values.get("SEALIFT_ADMINISTRATOR_NAME") or site.values.get("SEALIFT_PRINCIPAL_NAME", "")
    return warehouse.connect(_address(site), user, token)


def _address(site: Site) -> str:
    return warehouse.address(site.values["SEALIFT_WAREHOUSE_HOST"], site.values["SEALIFT_WAREHOUSE_DATABASE"])


def _vault(site: Site) -> SecretClient:
    return SecretClient(site.values["SEALIFT_KEY_VAULT_URL"], DefaultAzureCredential())


def _open_vault(site: Site) -> SecretClient:
    """Wait until the right to set secrets has arrived, which takes Azure some minutes after the first provision."""
    vault = _vault(site)
    grants.wait({"the vault": lambda: list(vault.list_properties_of_secrets())})
    return vault


def _secret(vault: SecretClient, name: str) -> str:
    """Return a secret's value; empty while it is the placeholder, which is switched off."""
    try:
        return vault.get_secret(name).value or ""
    except HttpResponseError as error:
        if error.status_code in (403, 404):
            return ""
        raise ToolFailed(
            f"the vault: {error.message}", "is the network open to you? Then run the same command again"
        ) from error


def warehouse_roles(site: Site) -> State:
    if not site.is_on("SEALIFT_CREATE_WAREHOUSE", default=True):
        return done("your own server: its roles are yours to make (docs/azure.md)")
    if not site.values.get("SEALIFT_WAREHOUSE_HOST"):
        return open_("after the resources")
    try:
        with _connect(site) as connection:
            lacking = warehouse.missing(connection, _roles(site))
        if lacking:
            return open_(f"missing: {lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else ""))
        password = _secret(_vault(site), READER_SECRET)
        if not password or not warehouse.opens(_address(site), warehouse.READER, password):
            return open_(f"the secret {READER_SECRET} does not sign {warehouse.READER} in")
    except WarehouseRefused as error:
        return open_(f"cannot be asked from here: {error.message}")
    return done(f"dbt builds, {warehouse.READER} reads, its password signs in")


def make_warehouse_roles(site: Site) -> None:
    with _let_in(site) as connection:
        warehouse.make(connection, _roles(site), lambda text: site.say(f"    {text}"))
        vault = _open_vault(site)
        password = _secret(vault, READER_SECRET)
        if password and warehouse.opens(_address(site), warehouse.READER, password):
            return
        # First the server, then the vault: killed between both, the next run sees that the vault's does not sign in.
        vault.set_secret(
            READER_SECRET, warehouse.set_new_password(connection, warehouse.READER), content_type="password"
        )
        site.say(f"    a new password of {warehouse.READER} is in the vault")


@contextmanager
def _let_in(site: Site) -> Iterator[psycopg.Connection]:
    """Connect; where the firewall refuses, let the operator's own address in for as long as this takes."""
    try:
        connection = _connect(site)
    except WarehouseRefused as refused:
        if "pg_hba" not in str(refused) and "timeout" not in str(refused) and "timed out" not in str(refused):
            raise
        address = site.own_address()
        if not address:
            raise WarehouseRefused(
                f"{refused.message}; the address that you come from is not known", "name it: --address 203.0.113.7"
            ) from refused
        site.say(f"    letting {address} through the warehouse's firewall until the roles are made")
        with _rule(site, address), _connect(site) as connection:
            yield connection
        return
    with connection:
        yield connection


@contextmanager
def _rule(site: Site, address: str) -> Iterator[None]:
    server = site.values["SEALIFT_WAREHOUSE_HOST"].partition(".")[0]
    where = ["--resource-group", site.values["AZURE_RESOURCE_GROUP"], "--name", server, "--rule-name", RULE]
    rule = ["az", "postgres", "flexible-server", "firewall-rule"]
    tools.run([*rule, "create", *where, "--start-ip-address", address, "--end-ip-address", address, "--output", "none"])
    try:
        yield
    finally:
        tools.run([*rule, "delete", *where, "--yes"])


# -- our keys for the partners' servers -------------------------------------------------------------------------------


def _unset(vault: SecretClient) -> list[PartnerSecret]:
    """Return the partners' secrets that are not there yet, or still the template's placeholder. No value is read."""
    try:
        on = {found.name for found in vault.list_properties_of_secrets() if found.enabled}
    except AzureError as error:
        raise ToolFailed(
            f"the vault: {error.message}", "is the network open to you? Then run the same command again"
        ) from error
    return [secret for secret in partner_secrets.derive() if secret.name not in on]


def sftp_keys(site: Site) -> State:
    if not site.values.get("SEALIFT_KEY_VAULT_URL"):
        return open_("after the resources")
    names = [secret.name for secret in _unset(_vault(site)) if secret.kind == "sftp-key"]
    return open_(f"not made: {', '.join(names)}") if names else done("in the vault")


def make_sftp_keys(site: Site) -> None:
    """Make a key pair for each partner that lacks one: the private half goes into the vault, the public one is shown."""
    vault = _open_vault(site)
    for secret in _unset(vault):
        if secret.kind != "sftp-key":
            continue
        key = rsa.generate_private_key(65537, KEY_BITS)
        form, locked = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, form, locked)
        vault.set_secret(secret.name, base64.b64encode(pem).decode(), content_type="SSH private key, base64")
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        site.say(f"    for {', '.join(secret.partners)}, to send: {public.decode()} sealift-{site.stage}")


def left_to_people(site: Site) -> list[str]:
    """Return what only a person can bring: what partners give and what is agreed with them."""
    if not site.values.get("SEALIFT_KEY_VAULT_URL"):
        return []
    return [f"{secret.name}: the {secret.words}" for secret in _unset(_vault(site)) if secret.kind != "sftp-key"]

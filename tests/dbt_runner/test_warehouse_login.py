"""dbt signs in without a password in its environment: with a token, or with a secret that it reads itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Self

import psycopg
import pytest
from dbt_site import ONE, Runner, Site
from psycopg.sql import SQL

from dbt_runner.request import RequestError
from dbt_runner.settings import read_settings
from dbt_runner.warehouse_login import PASSWORD, WAREHOUSE_SCOPE, Login, LoginFailed
from local.key_vault.server import KeyVault
from local.wire.web import Request, Response, WebServer, json_response

Ask = Callable[..., str]


class Tokens:
    """A managed-identity endpoint whose every warehouse token is new, and a server that takes the newest one only."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.handed_out: list[str] = []
        self._server = WebServer("tokens", self._answer)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        return {"IDENTITY_ENDPOINT": f"{self._server.url}/msi/token", "IDENTITY_HEADER": "dbt"}

    def _answer(self, request: Request) -> Response:
        resource = request.query["resource"]
        if f"{resource}/.default" != WAREHOUSE_SCOPE:
            token, ends = self._site.identity.token("dbt", resource)
            return json_response(200, {"access_token": token, "expires_on": str(ends), "resource": resource})
        self.handed_out.append(f"token-{len(self.handed_out)}-of-dbt")
        with psycopg.connect(self._site.dsn, autocommit=True) as connection:
            connection.execute(SQL("alter role tokened password {}").format(self.handed_out[-1]))
        return json_response(
            200, {"access_token": self.handed_out[-1], "expires_on": "4102444800", "resource": resource}
        )


@pytest.fixture
def tokens(site: Site) -> Iterator[Tokens]:
    site.execute("create role tokened login superuser")
    with Tokens(site) as tokens:
        yield tokens
    site.execute("reassign owned by tokened to postgres")
    site.execute("drop role tokened")


def test_each_command_of_a_run_signs_in_with_a_token_of_its_own(
    run_dbt: Runner, ask: Ask, tokens: Tokens, site: Site
) -> None:
    ask(select=ONE, docs=True)

    ran = run_dbt(WAREHOUSE_LOGIN="entra", PGUSER="tokened", DBT_ENV_SECRET_PG_PASSWORD="", **tokens.environment)

    assert ran.summary["status"] == "success", ran.output
    assert len(tokens.handed_out) >= 2, "parse, build and docs are commands of their own"
    assert not any(token in ran.output + ran.errors for token in tokens.handed_out)


def test_without_a_token_the_run_is_red_and_says_so(run_dbt: Runner, ask: Ask, site: Site) -> None:
    ask(select=ONE)
    with WebServer("none", lambda request: _storage_only(site, request)) as server:
        ran = run_dbt(
            WAREHOUSE_LOGIN="entra", IDENTITY_ENDPOINT=f"{server.url}/msi/token", IDENTITY_HEADER="dbt", PGUSER="x"
        )

    assert ran.summary["status"] == "error"
    assert "no sign-in for the warehouse" in ran.summary["message"]


def _storage_only(site: Site, request: Request) -> Response:
    if "storage" not in request.query["resource"]:
        return json_response(400, {"statusCode": 400, "message": "no identity for the warehouse"})
    token, ends = site.identity.token("dbt", request.query["resource"])
    return json_response(200, {"access_token": token, "expires_on": str(ends), "resource": "s"})


@pytest.fixture
def vault(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    with KeyVault(site.ca, site.identity) as vault:
        for name, value in (site.ca.environment | site.identity.environment("dbt")).items():
            monkeypatch.setenv(name, value)
        vault.set_secret("dbt-password", "of-the-vault")
        yield vault


def login(vault: KeyVault, secrets: list[str]) -> Login:
    return Login(f"{vault.url}/secrets/dbt-password", secrets, vault_scope=f"{vault._resource}/.default")


def test_a_password_comes_from_the_vault_and_is_kept_out_of_messages(vault: KeyVault) -> None:
    vault.allow("dbt", secrets=["dbt-password"])
    secrets: list[str] = []
    environment: dict[str, str] = {}

    login(vault, secrets).renew(environment)

    assert environment == {PASSWORD: "of-the-vault"}
    assert secrets == ["of-the-vault"]


def test_a_secret_without_a_grant_is_named(vault: KeyVault) -> None:
    with pytest.raises(LoginFailed, match="refuses the secret 'dbt-password'"):
        login(vault, []).renew({})


def test_without_the_setting_nothing_is_fetched() -> None:
    environment = {PASSWORD: "as it was"}

    Login("", []).renew(environment)

    assert environment == {PASSWORD: "as it was"}


def test_a_setting_that_is_neither_is_refused() -> None:
    with pytest.raises(RequestError, match="WAREHOUSE_LOGIN is 'http://vault/secrets/x'"):
        read_settings({**os.environ, "REQUEST": "{}", "WAREHOUSE_LOGIN": "http://vault/secrets/x"})

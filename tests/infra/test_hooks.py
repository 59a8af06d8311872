from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
from infra_fakes import FACTORY_ID, FakeFactory
from infra_templates import ROOT

from infra.hooks import app, commands, factory, grants, image, stage
from infra.hooks.commands import HookFailed
from infra.hooks.factory import store_function_key
from local.key_vault.identity import IdentityEndpoint, TokenRefused
from local.key_vault.server import KeyVault
from local.wire.certificates import CertificateAuthority
from local.wire.web import Request, Response, WebServer, json_response


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def vault(ca: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    with IdentityEndpoint() as identity, KeyVault(ca, identity, folder=tmp_path) as vault:
        for name, value in (ca.environment | identity.environment("operator")).items():
            monkeypatch.setenv(name, value)
        yield vault


def client(vault: KeyVault) -> SecretClient:
    return SecretClient(vault.url, DefaultAzureCredential(), verify_challenge_resource=False)


# -- grants -----------------------------------------------------------------------------------------------------------


def test_a_grant_that_is_not_there_yet_is_waited_for(vault: KeyVault) -> None:
    clock = Clock()
    secrets = client(vault)

    def arrive(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now >= 20:
            vault.allow("operator", secrets=["*"], write=True)

    grants.wait({"the vault": lambda: list(secrets.list_properties_of_secrets())}, clock=clock, sleep=arrive)

    assert clock.now == 20


def test_a_grant_that_never_comes_ends_red_after_five_minutes(vault: KeyVault) -> None:
    clock = Clock()
    secrets = client(vault)

    with pytest.raises(HookFailed, match="the vault is still refused after 5 minutes") as caught:
        grants.wait({"the vault": lambda: list(secrets.list_properties_of_secrets())}, clock=clock, sleep=clock.sleep)

    assert clock.now == 300
    assert "AZURE_PRINCIPAL_ID" in caught.value.hint


@pytest.mark.parametrize("error", [HttpResponseError("no such host"), ServiceRequestError("no route")])
def test_another_failure_is_not_waited_for(error: Exception) -> None:
    def probe() -> None:
        raise error

    clock = Clock()
    with pytest.raises((HookFailed, ServiceRequestError)):
        grants.wait({"x": probe}, clock=clock, sleep=clock.sleep)
    assert clock.now == 0


# -- the function key ---------------------------------------------------------------------------------------------------


def test_the_function_key_is_stored_once(vault: KeyVault) -> None:
    vault.allow("operator", secrets=["function-key"], write=True)
    secrets = client(vault)

    assert store_function_key(secrets, "key-one") is True
    assert store_function_key(secrets, "key-one") is False
    assert store_function_key(secrets, "key-two") is True
    assert secrets.get_secret("function-key").value == "key-two"


def test_after_a_deployment_the_factory_has_its_key_and_its_pipelines(
    arm: FakeFactory,
    vault: KeyVault,
    programs: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vault.allow("operator", secrets=["function-key"], write=True)
    arm.identity = vault._identity
    log = programs("az", """echo '{"functionKeys": {"default": "the-key"}, "systemKeys": {}}'""")
    outputs = set(re.findall(r"^output (SEALIFT_\w+)", (ROOT / "infra" / "main.bicep").read_text(), re.MULTILINE))
    for name in outputs:
        monkeypatch.setenv(name, "https://known-later.invalid/")
    for name, value in {
        "SEALIFT_FACTORY_ID": FACTORY_ID,
        "SEALIFT_FUNCTION_APP_ID": "/subscriptions/5ub/the/app",
        "SEALIFT_KEY_VAULT_URL": vault.url,
        "SEALIFT_STAGE": "dev",
    }.items():
        monkeypatch.setenv(name, value)
    # The SDK checks that a vault's challenge names the vault's own domain, which a stand-in on 127.0.0.1 cannot.
    monkeypatch.setattr(factory, "SecretClient", partial(SecretClient, verify_challenge_resource=False))

    factory.main()

    assert client(vault).get_secret("function-key").value == "the-key"
    assert ("pipeline", "deliver_batch") in arm.items
    assert arm.running() == []
    assert "the-key" not in log.read_text()


@pytest.mark.parametrize(
    ("stage", "message"), [("", "SEALIFT_STAGE is not set"), ("Prod", "no stage 'Prod'"), ("../stages/dev", "no stage")]
)
def test_a_stage_that_is_missing_or_misspelt_deploys_nothing(
    stage: str, message: str, programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = programs("az", "exit 1")
    monkeypatch.setenv("SEALIFT_FUNCTION_APP_ID", "/subscriptions/5ub/the/app")
    monkeypatch.setenv("SEALIFT_STAGE", stage)

    with pytest.raises(HookFailed, match=message) as caught:
        factory.main()

    assert "dev, prod" in caught.value.hint
    assert not log.read_text()


# -- the image ----------------------------------------------------------------------------------------------------------


def test_the_tag_changes_with_the_content_and_with_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "project" / "target").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text("FROM x")
    before = image.content_tag(tmp_path)

    (tmp_path / "project" / "target" / "manifest.json").write_text("{}")
    assert image.content_tag(tmp_path) == before

    (tmp_path / "project" / "model.sql").write_text("select 1")
    assert image.content_tag(tmp_path) != before
    assert image.content_tag(tmp_path, ["PGHOST=a"]) != image.content_tag(tmp_path, ["PGHOST=b"])
    assert len(before) == 12


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """programs(name, shell script) puts a program before all others; returns the file that it may log to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    log = tmp_path / "log"
    log.touch()

    def make(name: str, script: str) -> Path:
        file = folder / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\n{script}\n')
        file.chmod(0o755)
        return log

    return make


WAREHOUSE = {
    "SEALIFT_WAREHOUSE_HOST": "w.example.com",
    "SEALIFT_WAREHOUSE_DATABASE": "warehouse",
    "SEALIFT_DBT_USER": "sealift_dbt",
}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CONTAINER_REGISTRY_NAME", "crtest")
    monkeypatch.setenv("AZURE_CONTAINER_REGISTRY_ENDPOINT", "crtest.azurecr.io")
    for name, value in WAREHOUSE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SEALIFT_DBT_IMAGE", raising=False)


NOT_FOUND = 'echo "ERROR: the specified tag is not found" >&2; exit 1'


@pytest.mark.usefixtures("registry")
def test_a_new_image_is_built_once_and_makes_a_second_pass(
    programs: Callable[[str, str], Path], tmp_path: Path
) -> None:
    built = tmp_path / "built"
    log = programs(
        "az", f'case "$*" in *build*) touch {built};; *) [ -f {built} ] && echo sha256:abc || {{ {NOT_FOUND}; }};; esac'
    )
    programs("azd", "")

    image.main()

    lines = log.read_text().splitlines()
    arguments = ["PGHOST=w.example.com", "PGDATABASE=warehouse", "PGUSER=sealift_dbt"]
    tag = image.content_tag(ROOT / "dbt_runner", arguments)
    given = " ".join(f"--build-arg {argument}" for argument in arguments)
    assert lines[1] == f"az acr build --registry crtest --image dbt:{tag} --platform linux/amd64 {given} ."
    assert lines[3:] == ["azd env set SEALIFT_DBT_IMAGE crtest.azurecr.io/dbt@sha256:abc", "azd provision --no-prompt"]


@pytest.mark.usefixtures("registry")
def test_an_image_that_is_in_place_changes_nothing(
    programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = programs("az", "echo sha256:abc")
    monkeypatch.setenv("SEALIFT_DBT_IMAGE", "crtest.azurecr.io/dbt@sha256:abc")

    image.main()

    assert len(log.read_text().splitlines()) == 1


@pytest.mark.usefixtures("registry")
def test_a_registry_that_refuses_is_not_taken_for_an_empty_one(programs: Callable[[str, str], Path]) -> None:
    programs("az", 'echo "ERROR: denied" >&2; exit 1')

    with pytest.raises(HookFailed, match="denied"):
        image.main()


# -- commands -----------------------------------------------------------------------------------------------------------


def test_what_a_failed_command_wrote_to_stdout_is_not_shown(programs: Callable[[str, str], Path]) -> None:
    programs("az", "echo the-key; echo why >&2; exit 3")

    with pytest.raises(HookFailed, match=r"`az rest \.\.\.` ended with 3: why") as caught:
        commands.run(["az", "rest"])

    assert "the-key" not in str(caught.value)


def test_a_program_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(HookFailed, match="there is no az") as caught:
        commands.run(["az", "login"])

    assert "install the Azure CLI" in caught.value.hint


def test_a_hook_s_error_is_two_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEALIFT_KEY_VAULT_URL", raising=False)

    assert commands.finish(grants.main) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: SEALIFT_KEY_VAULT_URL is not set"
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("name", ["postprovision", "predeploy", "postdeploy"])
def test_a_hook_that_fails_ends_azd_too(name: str) -> None:
    folder = ROOT / "infra" / "hooks"

    # As azd runs it: in the hook's own folder, here without anything that azd would have set.
    environment = {"PATH": "/nowhere", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([sys.executable, f"{name}.py"], cwd=folder, env=environment, capture_output=True, text=True)

    assert done.returncode == 1
    assert re.search(r"^error: \w+ is not set\nhint: ", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(("active", "action"), [("/home/me/.venv", "deactivate"), ("", "pip install -r infra/hooks")])
def test_a_hook_without_its_packages_says_what_to_do(active: str, action: str) -> None:
    environment = {"PATH": "/nowhere", "VIRTUAL_ENV": active}

    done = subprocess.run(
        [sys.executable, "-S", "-m", "infra.hooks", "image"], cwd=ROOT, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert action in done.stderr


# -- the stage ------------------------------------------------------------------------------------------------------------


def test_a_stage_s_parameters_become_azd_s_variables() -> None:
    found = stage.variables("prod")

    assert found["SEALIFT_STAGE"] == "prod"
    assert found["SEALIFT_DELETE_LOCK"] == "true"
    assert found["SEALIFT_SEALED_DAYS"] == "90"
    assert "SEALIFT_PARTNERS" not in found
    assert found["AZURE_LOCATION"] == "westeurope"
    assert "AZURE_ENV_NAME" not in found


def test_a_stage_is_written_into_azd_s_environment(
    programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = programs("azd", "")
    mine = stage.variables("dev") | {"SEALIFT_ALERT_EMAIL": "operator@company.test"}
    monkeypatch.setattr(stage, "variables", lambda _stage: mine)
    monkeypatch.setattr(sys, "argv", ["stage", "dev"])

    stage.main()

    assert "azd env set SEALIFT_BUDGET_AMOUNT 50" in log.read_text().splitlines()


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_a_stage_with_an_example_address_is_refused_before_anything_is_written(
    name: str, programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = programs("azd", "")
    monkeypatch.setattr(sys, "argv", ["stage", name])

    with pytest.raises(HookFailed, match=r"operator@example\.com', which is nobody's"):
        stage.main()

    assert "env set" not in log.read_text()


def test_an_unknown_stage_names_the_known_ones() -> None:
    with pytest.raises(HookFailed, match="there is no stage 'test'") as caught:
        stage.variables("test")

    assert caught.value.hint == "the stages are dev, prod"


# -- the app ----------------------------------------------------------------------------------------------------------------


CLIENT_ID = "44444444-4444-4444-4444-444444444444"


def deployed(
    ready: int = 200, closed: int = 401, identity: IdentityEndpoint | None = None
) -> Callable[[Request], Response]:
    """An app that answers as the deployed one must, unless set otherwise; with `identity` it wants an operator's token too."""

    def answer(request: Request) -> Response:
        has_key = request.headers.get("x-functions-key") == "key"
        if request.path == "/api/health":
            return json_response(200, {"status": "alive"})
        if identity:
            try:
                caller = identity.verify(request.headers.get("Authorization", ""), f"api://{CLIENT_ID}")
            except TokenRefused:
                return Response(status=closed)
            if caller != "operator":
                return Response(status=403)
        if not has_key:
            return Response(status=closed)
        if request.path == "/api/ready":
            return json_response(ready, {"ready": ready == 200})
        return json_response(404, {"error": "no such batch", "hint": "plan it first", "batch": None})

    return answer


def test_an_app_that_is_alive_closed_and_ready_passes() -> None:
    with WebServer("app", deployed()) as server:
        app.check(server.url, "key")


def entra(monkeypatch: pytest.MonkeyPatch, programs: Callable[[str, str], Path], url: str) -> None:
    """The settings of a stage that has `entraClientId`."""
    programs(
        "az",
        """case "$*" in *listKeys*) echo '{"functionKeys": {"default": "key"}}';; *) echo '{"properties": {}}';; esac""",
    )
    for name, value in {
        "SEALIFT_FUNCTION_APP_ID": "/subscriptions/5ub/the/app",
        "SEALIFT_FUNCTION_APP_URL": url,
        "SEALIFT_ENTRA_CLIENT_ID": CLIENT_ID,
        "SEALIFT_CONTRACT_TESTS": "true",
    }.items():
        monkeypatch.setenv(name, value)


def test_an_app_that_wants_a_token_is_asked_with_one(
    vault: KeyVault,
    programs: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with WebServer("app", deployed(identity=vault._identity)) as server:
        entra(monkeypatch, programs, server.url)
        app.main()

    shown = capsys.readouterr().out
    assert "a key without a token opens nothing" in shown
    assert "storage, queue and vault answer the app" in shown
    assert "the contract suite is not run" in shown


def test_an_app_that_takes_no_token_of_who_deploys_says_whom_it_would_take(vault: KeyVault) -> None:
    token, _ = vault._identity.token("somebody", f"api://{CLIENT_ID}")

    with (
        WebServer("app", deployed(identity=vault._identity)) as server,
        pytest.raises(HookFailed, match="403") as caught,
    ):
        app.check(server.url, "key", token)

    assert "operatorPrincipalIds" in caught.value.hint


def test_an_app_that_should_want_a_token_and_takes_the_key_alone_is_told() -> None:
    with WebServer("app", deployed()) as server, pytest.raises(HookFailed, match="a key without a token opens nothing"):
        app.check(server.url, "key", "token")


def test_who_gets_no_token_is_told_what_the_registration_needs(
    vault: KeyVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "unknown")

    with pytest.raises(HookFailed, match=f"no token for api://{CLIENT_ID}") as caught:
        app.token_for(CLIENT_ID)

    assert "az login" in caught.value.hint


@pytest.mark.parametrize(
    ("faults", "message"),
    [({"ready": 503}, "storage, queue and vault answer the app"), ({"closed": 200}, "closed without a key")],
)
def test_an_app_that_is_open_or_not_ready_is_told(faults: dict[str, int], message: str) -> None:
    with WebServer("app", deployed(**faults)) as server, pytest.raises(HookFailed, match=message):
        app.check(server.url, "key")


def test_an_app_that_is_not_there_is_waited_for_five_minutes() -> None:
    with WebServer("gone", deployed()) as server:
        url = server.url
    clock = Clock()

    with pytest.raises(HookFailed, match="the app is alive") as caught:
        commands.wait_until(lambda: app.check(url, "key"), clock=clock, sleep=clock.sleep)

    assert clock.now == 300
    assert "which must be 3.13" in caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"AzureWebJobsStorage": "UseDevelopmentStorage=true"},
        {"Anything": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=b"},
    ],
)
def test_a_connection_string_among_the_settings_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(HookFailed, match="the app has connection strings") as caught:
        app.check_settings({"KEY_VAULT_URL": "https://v/", **settings})

    assert "AccountKey" not in str(caught.value)


def test_identity_based_settings_are_fine() -> None:
    app.check_settings({"AzureWebJobsStorage__blobServiceUri": "https://x/", "KEY_VAULT_URL": "https://v/"})


def test_a_deployed_app_is_asked_with_the_key_that_azure_made(
    programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = (
        """case "$*" in *listKeys*) echo '{"functionKeys": {"default": "key"}}';; *) echo '{"properties": {}}';; esac"""
    )
    programs("az", answer)
    monkeypatch.setenv("SEALIFT_FUNCTION_APP_ID", "/subscriptions/5ub/the/app")

    monkeypatch.delenv("SEALIFT_CONTRACT_TESTS", raising=False)
    monkeypatch.delenv("SEALIFT_ENTRA_CLIENT_ID", raising=False)
    with WebServer("app", deployed()) as server:
        monkeypatch.setenv("SEALIFT_FUNCTION_APP_URL", server.url)
        app.main()


def test_the_contract_suite_gets_the_key_through_its_environment_only(
    programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = (
        """case "$*" in *listKeys*) echo '{"functionKeys": {"default": "key"}}';; *) echo '{"properties": {}}';; esac"""
    )
    programs("az", answer)
    log = programs("sealift", 'echo "$BASE_URL $KEY" >> "$0.environment"')
    monkeypatch.setattr(app, "ROOT", tmp_path / "bin")
    monkeypatch.setenv("SEALIFT_FUNCTION_APP_ID", "/subscriptions/5ub/the/app")
    monkeypatch.setenv("SEALIFT_CONTRACT_TESTS", "true")

    with WebServer("app", deployed()) as server:
        monkeypatch.setenv("SEALIFT_FUNCTION_APP_URL", server.url)
        app.main()

    assert log.read_text().splitlines()[-1] == "sealift test -n0 tests/contract"
    assert (tmp_path / "bin" / "sealift.environment").read_text() == f"{server.url} key\n"


def test_the_image_s_build_arguments_are_those_of_its_dockerfile() -> None:
    declared = set(re.findall(r"^ARG (\w+)", (ROOT / "dbt_runner" / "Dockerfile").read_text(), re.MULTILINE))

    assert {"PGHOST", "PGDATABASE", "PGUSER"} <= declared


@pytest.mark.usefixtures("registry")
def test_where_the_registry_may_not_build_the_image_is_built_here(
    programs: Callable[[str, str], Path], tmp_path: Path
) -> None:
    pushed = tmp_path / "pushed"
    answers = f"""case "$*" in
    "acr build"*) echo "(TasksOperationsNotAllowed) ACR Tasks requests for the registry are not permitted" >&2; exit 1;;
    "acr login"*) echo the-token;;
    *) [ -f {pushed} ] && echo sha256:abc || {{ {NOT_FOUND}; }};; esac"""
    log = programs("az", answers)
    programs("azd", "")
    programs("docker", f'[ "$1" = push ] && cp "$DOCKER_CONFIG/config.json" {pushed}; exit 0')

    image.main()

    docker = [line for line in log.read_text().splitlines() if line.startswith("docker")]
    assert [line.split()[1] for line in docker] == ["build", "push"]
    assert "crtest.azurecr.io" in pushed.read_text()
    assert "the-token" not in log.read_text()

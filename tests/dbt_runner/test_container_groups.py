"""The container-group stand-in, as the official client, a pipeline and an intruder meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.containerinstance.models import (
    Container,
    ContainerGroup,
    EnvironmentVariable,
    ResourceRequests,
    ResourceRequirements,
)
from dbt_site import ROOT, Site, group_definition, wait_for

from local.container_groups.server import GROUP_ID, ContainerGroups

VERSION = {"api-version": "2025-09-01"}


@pytest.fixture
def client(site: Site, groups: ContainerGroups, monkeypatch: pytest.MonkeyPatch) -> ContainerInstanceManagementClient:
    for name, value in (site.ca.environment | site.identity.environment("operator")).items():
        monkeypatch.setenv(name, value)
    return ContainerInstanceManagementClient(
        DefaultAzureCredential(),
        "5ea11f70-0000-4000-8000-000000000001",
        base_url=groups.url,
        credential_scopes=["https://management.azure.com/.default"],
        polling_interval=0,
    )


def model(*command: str, **variables: EnvironmentVariable) -> ContainerGroup:
    return ContainerGroup(
        location="westeurope",
        os_type="Linux",
        restart_policy="Never",
        containers=[
            Container(
                name="dbt",
                image="sealift.azurecr.io/dbt:1",
                command=list(command),
                environment_variables=list(variables.values()),
                resources=ResourceRequirements(requests=ResourceRequests(cpu=1, memory_in_gb=1)),
            )
        ],
    )


class Call:
    """Plain HTTP calls as a principal."""

    def __init__(self, site: Site, groups: ContainerGroups, principal: str = "operator") -> None:
        self.groups = groups
        self.bundle = str(site.ca.bundle)
        self.headers = {"Authorization": f"Bearer {site.identity.token(principal, 'https://management.azure.com/')[0]}"}

    def __call__(self, method: str, tail: str = "", **options: Any) -> requests.Response:
        options.setdefault("params", VERSION)
        options.setdefault("headers", self.headers)
        return requests.request(method, f"{self.groups.url}{GROUP_ID}{tail}", verify=self.bundle, timeout=30, **options)

    def view(self) -> dict[str, Any]:
        view: dict[str, Any] = self("GET").json()["properties"]["containers"][0]["properties"]["instanceView"]
        return view

    def state(self) -> str:
        return str(self("GET").json()["properties"]["instanceView"].get("state"))


@pytest.fixture
def call(site: Site, groups: ContainerGroups) -> Call:
    return Call(site, groups)


def show(client: ContainerInstanceManagementClient) -> tuple[str, dict[str, Any]]:
    """Return the group's state and its container, both as the client's models serialise them."""
    group = client.container_groups.get("sealift", "dbt").serialize(keep_readonly=True)
    properties = group["properties"]
    return properties["instanceView"]["state"], properties["containers"][0]["properties"]


def test_official_client_creates_runs_reads_and_deletes_a_group(client: ContainerInstanceManagementClient) -> None:
    secret = EnvironmentVariable(name="TOKEN", secure_value="very-secret")
    plain = EnvironmentVariable(name="PLAIN", value="seen")
    program = "import os; print('token', len(os.environ['TOKEN']), os.environ['PLAIN']); raise SystemExit(3)"

    created = client.container_groups.begin_create_or_update(
        "sealift", "dbt", model("python", "-c", program, secret=secret, plain=plain)
    ).result()
    wait_for(lambda: show(client)[0] == "Failed")
    container = show(client)[1]
    state = container["instanceView"]["currentState"]

    assert created.provisioning_state == "Succeeded"
    assert (state["state"], state["exitCode"], state["detailStatus"]) == ("Terminated", 3, "Error")
    assert [event["name"] for event in container["instanceView"]["events"]] == [
        "Pulling",
        "Pulled",
        "Created",
        "Started",
    ]
    assert container["environmentVariables"] == [{"name": "TOKEN"}, {"name": "PLAIN", "value": "seen"}]
    assert client.containers.list_logs("sealift", "dbt", "dbt").content == "token 11 seen\n"
    client.container_groups.begin_delete("sealift", "dbt").result()
    with pytest.raises(ResourceNotFoundError):
        client.container_groups.get("sealift", "dbt")


def test_official_client_starts_again(client: ContainerInstanceManagementClient) -> None:
    client.container_groups.begin_create_or_update("sealift", "dbt", model("python", "-c", "pass")).result()
    wait_for(lambda: show(client)[0] == "Succeeded")
    first = show(client)[1]["instanceView"]["currentState"]

    client.container_groups.begin_start("sealift", "dbt").result()
    wait_for(lambda: show(client)[0] == "Succeeded")
    second = show(client)[1]["instanceView"]

    assert second["currentState"]["startTime"] > first["startTime"]
    assert second["previousState"]["startTime"] == first["startTime"]
    assert next(event["count"] for event in second["events"] if event["name"] == "Started") == 2


def test_stop_ends_the_process_and_shows_stopped(call: Call, groups: ContainerGroups, site: Site) -> None:
    groups.put_group(group_definition(site, ["python", "-c", "import time; print('up', flush=True); time.sleep(600)"]))
    wait_for(lambda: "up" in call("GET", "/containers/dbt/logs").json()["content"])

    answer = call("POST", "/stop")

    assert (answer.status_code, answer.content) == (204, b"")
    assert call.state() == "Stopped"
    assert call.view()["currentState"]["state"] == "Terminated"


def test_start_answers_202_with_an_operation_to_follow(call: Call, groups: ContainerGroups, site: Site) -> None:
    groups.put_group(group_definition(site, ["python", "-c", "pass"]), starts=False)

    answer = call("POST", "/start", data="{}")

    assert (answer.status_code, answer.content) == (202, b"")
    follow = answer.headers["Azure-AsyncOperation"]

    def status() -> Any:
        return requests.get(follow, headers=call.headers, verify=call.bundle, timeout=30).json()["status"]

    wait_for(lambda: bool(status() == "Succeeded"))
    result = requests.get(answer.headers["Location"], headers=call.headers, verify=call.bundle, timeout=30)
    assert result.status_code == 200


@pytest.mark.parametrize(
    ("params", "code"),
    [({}, "MissingApiVersionParameter"), ({"api-version": "2001-01-01"}, "NoRegisteredProviderFound")],
)
def test_api_version_is_demanded(call: Call, params: dict[str, str], code: str) -> None:
    answer = call("GET", params=params)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_no_token_and_a_token_for_another_service_are_refused(call: Call, site: Site) -> None:
    other = site.identity.token("data-factory", "https://storage.azure.com/")[0]

    without = call("GET", headers={})
    wrong = call("GET", headers={"Authorization": f"Bearer {other}"})

    assert (without.status_code, without.json()["error"]["code"]) == (401, "AuthenticationFailed")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")
    assert "authorization_uri" in without.headers["WWW-Authenticate"]


@pytest.mark.parametrize(("method", "tail"), [("PUT", ""), ("DELETE", ""), ("POST", "/restart")])
def test_data_factory_may_only_read_start_stop_and_read_logs(
    method: str, tail: str, site: Site, groups: ContainerGroups
) -> None:
    groups.put_group(group_definition(site, ["python", "-c", "pass"]), starts=False)
    factory = Call(site, groups, "data-factory")

    refused = factory(method, tail, json=group_definition(site))

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert factory("GET").status_code == 200


def test_missing_group_is_404_and_its_deletion_204(call: Call) -> None:
    assert call("GET").json()["error"]["code"] == "ResourceNotFound"
    assert call("DELETE").status_code == 204


def test_log_after_the_end_is_cut_to_sixteen_kilobytes_and_a_thousand_lines(
    call: Call, groups: ContainerGroups, site: Site
) -> None:
    groups.put_group(group_definition(site, ["python", "-c", "for n in range(5000): print('line', n)"]))
    wait_for(lambda: call.state() == "Succeeded")

    content = call("GET", "/containers/dbt/logs").json()["content"]
    tail = call("GET", "/containers/dbt/logs", params=VERSION | {"tail": "2"}).json()["content"]

    assert len(content) <= 16 * 1024
    assert len(content.splitlines()) <= 1000
    assert tail == "line 4998\nline 4999\n"


def test_answers_and_log_hold_no_secret(call: Call, groups: ContainerGroups, site: Site) -> None:
    definition = group_definition(site, ["python", "-c", "pass"])
    definition["properties"]["imageRegistryCredentials"] = [
        {"server": "x", "username": "u", "password": "registry-secret"}
    ]

    put = call("PUT", json=definition)

    for text in (put.text, call("GET").text, groups.log.read_text()):
        assert site.postgres.password not in text
        assert "registry-secret" not in text
    assert {"name": "DBT_ENV_SECRET_PG_PASSWORD"} in put.json()["properties"]["containers"][0]["properties"][
        "environmentVariables"
    ]


def test_stale_reads_show_the_state_before_the_start(call: Call, groups: ContainerGroups, site: Site) -> None:
    groups.put_group(group_definition(site, ["python", "-c", "import time; time.sleep(600)"]), starts=False)
    groups.faults.stale_reads = 2
    before = call.view()["currentState"]

    call("POST", "/start", data="{}")

    assert [call.view()["currentState"] == before for _ in range(3)] == [True, True, False]


def test_failed_container_is_started_again_when_the_platform_does_so(
    call: Call, groups: ContainerGroups, site: Site
) -> None:
    groups.faults.restarts = 1
    groups.put_group(group_definition(site, ["python", "-c", "print('try'); raise SystemExit(4)"]))

    wait_for(lambda: call.state() == "Failed")

    assert call.view()["restartCount"] == 1
    assert call.view()["previousState"]["exitCode"] == 4
    assert call("GET", "/containers/dbt/logs").json()["content"] == "try\ntry\n"


def test_image_that_cannot_be_pulled_leaves_the_container_waiting_until_stopped(
    call: Call, groups: ContainerGroups, site: Site
) -> None:
    groups.faults.never_pulls = True
    groups.put_group(group_definition(site, ["python", "-c", "pass"]))
    wait_for(lambda: call.view()["currentState"].get("detailStatus") == "ImagePullBackOff")

    assert call.state() == "Pending"
    assert {"Failed", "BackOff"} <= {event["name"] for event in call.view()["events"]}
    assert call("POST", "/stop").status_code == 204
    assert call.state() == "Stopped"


def test_start_in_transition_is_409(call: Call, groups: ContainerGroups, site: Site) -> None:
    groups.put_group(group_definition(site, ["python", "-c", "pass"]), starts=False)
    groups.faults.busy_starts = 1

    refused = call("POST", "/start", data="{}")

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ContainerGroupTransitioning")
    assert call("POST", "/start", data="{}").status_code == 202


def test_definition_that_is_none_is_refused(client: ContainerInstanceManagementClient, call: Call) -> None:
    answer = call("PUT", data=json.dumps({"location": "westeurope"}))

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")
    with pytest.raises(HttpResponseError, match="InvalidRequestContent"):
        client.container_groups.begin_create_or_update("sealift", "dbt", ContainerGroup(containers=[], os_type="Linux"))


def test_containers_end_with_the_stand_in(site: Site) -> None:
    with ContainerGroups(site.ca, site.identity, site.folder / "ends") as groups:
        groups.put_group(
            group_definition(site, ["python", "-c", "import time; print('up', flush=True); time.sleep(600)"])
        )
        container = groups.container()
        wait_for(lambda: container.state["state"] == "Running")

    assert container.state["state"] == "Terminated"
    assert not container.is_alive


def test_containers_end_when_the_stand_in_is_killed(site: Site, tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from local.wire.certificates import CertificateAuthority
from local.container_groups.server import ContainerGroups
from local.key_vault.identity import IdentityEndpoint
program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
container = {{"name": "dbt", "properties": {{"image": "x", "command": ["python", "-c", program]}}}}
with IdentityEndpoint() as identity:
    with ContainerGroups(CertificateAuthority(Path({str(tmp_path)!r})), identity, Path({str(tmp_path)!r})) as groups:
        groups.put_group({{"properties": {{"containers": [container]}}}})
        while not groups.container().logs(None, timestamps=False):
            time.sleep(0.02)
        print(groups.container().logs(None, timestamps=False), flush=True)
        time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        holder.kill()

    wait_for(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

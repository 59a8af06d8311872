from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from infra_fakes import FACTORY_ID, FakeFactory, Fault

from infra.deploy.applying import apply_plan
from infra.deploy.arm import Factory
from infra.deploy.errors import EditedMeanwhileError, RefusedError, StillStoppedError
from infra.deploy.planning import Plan, make_plan
from infra.deploy.source import load_source
from local.wire.web import Response, json_response

Write = Callable[..., Path]
DAILY = {
    "type": "ScheduleTrigger",
    "pipelines": [{"pipelineReference": {"referenceName": "outer", "type": "PipelineReference"}}],
    "typeProperties": {"recurrence": {"frequency": "Hour", "interval": 1}},
}
BLOBS = {
    "type": "BlobEventsTrigger",
    "pipelines": [{"pipelineReference": {"referenceName": "outer", "type": "PipelineReference"}}],
    "typeProperties": {"blobPathBeginsWith": "/raw/"},
}


def plan_for(folder: Path, live: Factory, **options: Any) -> Plan:
    return make_plan(load_source(folder), {item.key: item for item in live.items()}, **options)


def deploy(folder: Path, live: Factory, **options: Any) -> list[str]:
    said: list[str] = []
    apply_plan(plan_for(folder, live, **options), live, said.append)
    return said


@pytest.fixture
def deployed(write: Write, arm: FakeFactory, live: Factory) -> FakeFactory:
    """A factory that holds FILES, its trigger running."""
    deploy(write(), live)
    arm.items["trigger", "daily"]["properties"]["runtimeState"] = "Started"
    arm.log.clear()
    return arm


def test_a_first_deployment_fills_the_factory_and_a_second_changes_nothing(
    write: Write, arm: FakeFactory, live: Factory
) -> None:
    folder = write({"factory/any": {"globalParameters": {"poll": {"type": "int", "value": 1}}}})

    deploy(folder, live)
    arm.log.clear()

    assert not plan_for(folder, live).changes
    assert not arm.writes()
    assert arm.items["globalParameters", "default"]["properties"]["poll"] == {"type": "Int", "value": 1}


def test_a_new_trigger_stays_stopped(write: Write, arm: FakeFactory, live: Factory) -> None:
    deploy(write(), live)

    assert arm.running() == []


def test_all_pages_are_read(arm: FakeFactory, live: Factory) -> None:
    for number in range(7):
        arm.add("dataset", f"d{number}", {})

    assert len([item for item in live.items() if item.kind == "dataset"]) == 7


def test_a_trigger_that_does_not_change_keeps_running(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deploy(write({"pipeline/inner": {"activities": []}}), live)

    assert deployed.running() == ["daily"]
    assert deployed.writes() == ["PUT pipelines/inner"]


def test_a_running_trigger_that_changes_stops_and_starts_again(
    write: Write, deployed: FakeFactory, live: Factory
) -> None:
    said = deploy(write({"trigger/daily": DAILY}), live)

    assert deployed.running() == ["daily"]
    assert deployed.writes() == ["POST triggers/daily/stop", "PUT triggers/daily", "POST triggers/daily/start"]
    assert said == ["stopped trigger.daily", "updated trigger.daily", "started trigger.daily"]


def test_a_stopped_trigger_that_changes_stays_stopped(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.items["trigger", "daily"]["properties"]["runtimeState"] = "Stopped"

    deploy(write({"trigger/daily": DAILY}), live)

    assert deployed.running() == []


def test_a_trigger_starts_again_when_its_update_fails(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.fail("PUT", "triggers/daily", 400)

    with pytest.raises(RefusedError, match="Fake400: told to fail"):
        deploy(write({"trigger/daily": DAILY}), live)

    assert deployed.running() == ["daily"]


def test_a_trigger_starts_again_when_its_stop_gave_no_good_answer(
    write: Write, deployed: FakeFactory, live: Factory
) -> None:
    deployed.fail("POST", "triggers/daily/stop", 400, after=True)

    with pytest.raises(RefusedError):
        deploy(write({"trigger/daily": DAILY}), live)

    assert deployed.running() == ["daily"]


def test_a_trigger_that_cannot_start_again_is_named(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.fail("POST", "triggers/daily/start", 400, times=99)

    with pytest.raises(StillStoppedError, match="are stopped now: daily") as caught:
        deploy(write({"trigger/daily": DAILY}), live)

    assert "ADF Studio" in caught.value.hint


def test_a_surplus_running_trigger_stops_and_goes(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.add("trigger", "old", {**DAILY, "runtimeState": "Started"})

    deploy(write(), live)

    assert ("trigger", "old") not in deployed.items
    assert deployed.running() == ["daily"]


def test_an_event_trigger_is_subscribed_before_it_starts(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.add("trigger", "arrivals", {**BLOBS, "runtimeState": "Started", "subscribed": True})

    deploy(write({"trigger/arrivals": {**BLOBS, "typeProperties": {"blobPathBeginsWith": "/new/"}}}), live)

    assert deployed.running() == ["arrivals", "daily"]
    polls = [line for line in deployed.log if line.startswith("GET operations")]
    assert len(polls) == 4


def test_an_edit_between_plan_and_write_is_not_overwritten(write: Write, deployed: FakeFactory, live: Factory) -> None:
    plan = plan_for(write({"pipeline/inner": {"activities": []}}), live)
    deployed.edit("pipeline", "inner", description="by hand")

    with pytest.raises(EditedMeanwhileError, match=r"pipeline\.inner was edited in Azure"):
        apply_plan(plan, live, lambda _: None)

    assert deployed.items["pipeline", "inner"]["properties"]["description"] == "by hand"


def test_an_edit_before_a_deletion_saves_the_item(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.add("pipeline", "old", {})
    plan = plan_for(write(), live)
    deployed.edit("pipeline", "old", description="still needed")

    with pytest.raises(EditedMeanwhileError):
        apply_plan(plan, live, lambda _: None)

    assert ("pipeline", "old") in deployed.items


def test_an_edited_trigger_is_not_even_stopped(write: Write, deployed: FakeFactory, live: Factory) -> None:
    plan = plan_for(write({"trigger/daily": DAILY}), live)
    deployed.edit("trigger", "daily", description="by hand")

    with pytest.raises(EditedMeanwhileError):
        apply_plan(plan, live, lambda _: None)

    assert not deployed.writes()
    assert deployed.running() == ["daily"]


def test_a_write_whose_answer_was_lost_is_no_conflict(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.fail("PUT", "pipelines/inner", 503, after=True)

    deploy(write({"pipeline/inner": {"activities": []}}), live)

    assert deployed.writes() == ["PUT pipelines/inner", "PUT pipelines/inner"]


def test_a_busy_resource_manager_is_asked_again(write: Write, arm: FakeFactory, live: Factory) -> None:
    arm.fail("GET", "datasets", 429, times=5)
    arm.fail("PUT", "pipelines", 429, times=5)

    deploy(write(), live)

    assert ("trigger", "daily") in arm.items


def test_a_resource_manager_that_stays_busy_ends_red(write: Write, arm: FakeFactory, live: Factory) -> None:
    arm.fail("PUT", "pipelines", 429, times=99)

    with pytest.raises(RefusedError, match="429") as caught:
        deploy(write(), live)

    assert "wait a few minutes" in caught.value.hint


def test_the_first_failure_ends_it_and_a_second_apply_goes_on(write: Write, arm: FakeFactory, live: Factory) -> None:
    arm.fail("PUT", "datasets/files", 400)
    said: list[str] = []
    plan = plan_for(write(), live)

    with pytest.raises(RefusedError):
        apply_plan(plan, live, said.append)
    assert said[-1] == "2 of 6 changes were made; apply again goes on from here"
    assert ("pipeline", "inner") not in arm.items

    deploy(write(), live)
    assert ("trigger", "daily") in arm.items


def test_a_token_is_sent_to_no_other_host(arm: FakeFactory, live: Factory) -> None:
    stranger = json_response(200, {"value": [], "nextLink": "https://elsewhere.example/next"})
    arm.faults.append(Fault(when=lambda request: "datasets" in request.path, response=stranger))

    with pytest.raises(RefusedError, match=r"sent us to elsewhere\.example"):
        list(live.items())


def test_an_item_that_went_meanwhile_is_deleted_enough(write: Write, deployed: FakeFactory, live: Factory) -> None:
    deployed.add("pipeline", "old", {})
    plan = plan_for(write(), live)
    del deployed.items["pipeline", "old"]

    apply_plan(plan, live, lambda _: None)

    assert not deployed.writes()


def test_an_operation_that_never_ends_is_given_up(arm: FakeFactory, write: Write) -> None:
    waited: list[float] = []
    credential = DefaultAzureCredential()
    with Factory(FACTORY_ID, credential, endpoint=arm.url, sleep=waited.append) as live:
        deploy(write({"trigger/arrivals": BLOBS}), live)
        never = f"{arm.url}{FACTORY_ID}/operations/9?api-version=2018-06-01"
        answer = Response(status=202, headers=[("Location", never), ("Retry-After", "60")])
        arm.faults.append(
            Fault(
                when=lambda request: "subscribe" in request.path or "operations" in request.path,
                response=answer,
                times=99,
            )
        )

        with pytest.raises(RefusedError, match="did not end in time"):
            live.start(next(item for item in live.items() if item.name == "arrivals"))

    assert waited == [60.0] * 10


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("7", 7, 7),
        ("soon", 5, 5),
        ("", 5, 5),
        (formatdate(time.time() + 600, usegmt=True), 1, 600),
        (formatdate(0, usegmt=True), 1, 1),
    ],
    ids=["seconds", "nonsense", "nothing", "date", "date in the past"],
)
def test_an_operation_is_followed_wherever_and_whenever_azure_says(
    arm: FakeFactory, write: Write, retry_after: str, least: float, most: float
) -> None:
    waited: list[float] = []
    with Factory(FACTORY_ID, DefaultAzureCredential(), endpoint=arm.url, sleep=waited.append) as live:
        deploy(write({"trigger/arrivals": BLOBS}), live)
        relative = f"{FACTORY_ID}/operations/9?api-version=2018-06-01"
        answer = Response(status=202, headers=[("Location", relative), ("Retry-After", retry_after)])
        ended = Response(status=200)
        arm.faults.append(Fault(when=lambda request: "subscribe" in request.path, response=answer))
        arm.faults.append(Fault(when=lambda request: "operations" in request.path, response=ended))

        live._act(next(item for item in live.items() if item.name == "arrivals"), "subscribeToEvents")

    assert len(waited) == 1
    assert least <= waited[0] <= most


def test_without_a_sign_in_the_hint_says_how(arm: FakeFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "a stranger's")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")

    with Factory(FACTORY_ID, DefaultAzureCredential(), endpoint=arm.url) as live, pytest.raises(RefusedError) as caught:
        list(live.items())

    assert "azd auth login" in caught.value.hint
    assert "stranger" not in str(caught.value)


def test_a_network_that_is_down_is_told(arm: FakeFactory, live: Factory) -> None:
    arm.server.stop()

    with pytest.raises(RefusedError, match="GET ") as caught:
        list(live.items())

    assert caught.value.hint == "is the network up?"

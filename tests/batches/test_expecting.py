"""A feed that should have been delivered and was not triggers one alert, especially when no run started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from batch_world import World

import batches
from encryption import VaultUnreachable
from local.wire.certificates import CertificateAuthority
from local.wire.web import Request, Response, WebServer, json_response
from partners import Partner, load_partners

SATURDAY = date(2026, 11, 21)


@pytest.fixture
def partners() -> list[Partner]:
    return [partner for partner in load_partners() if partner.name == "northwind"]


class Hook:
    """A team's webhook: keeps what it is posted; answers `status`."""

    def __init__(self) -> None:
        self.posted: list[dict[str, object]] = []
        self.status = 200

    def answer(self, request: Request) -> Response:
        if self.status == 200:
            self.posted.append(request.json())
        return json_response(self.status, {})


@pytest.fixture
def hook(world: World, authority: CertificateAuthority) -> Iterator[Hook]:
    hook = Hook()
    world.key_vault.allow("function-app", secrets=("alert-webhook",))
    with WebServer("hook", hook.answer, ca=authority) as server:
        world.key_vault.set_secret("alert-webhook", f"{server.url}/teams")
        yield hook


def at(hour: int, minute: int = 0, day: int = 22) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def state(world: World, partners: list[Partner], now: datetime, day: date = SATURDAY) -> str:
    (standing,) = [each for each in batches.read_standings(world.at(now), partners) if each.business_date == day]
    return standing.state


@pytest.mark.parametrize(
    ("now", "expected"),
    [(at(4, 59), "open"), (at(5), "due"), (at(6), "due"), (at(6, 1), "late"), (at(9), "late"), (at(9, 1), "missing")],
)
def test_nothing_happened(world: World, partners: list[Partner], now: datetime, expected: str) -> None:
    assert state(world, partners, now) == expected


def test_delivered_batch_is_no_alarm(world: World, partners: list[Partner]) -> None:
    record = world.sealed()
    batches.confirm(
        world.at(at(3)),
        record,
        expected=batches.remote_files(world.context, record),
        arrived={file.to: file.bytes for file in batches.remote_files(world.context, record)},
    )

    assert state(world, partners, at(12)) == "delivered"


def test_failed_batch_is_told_before_its_deadline(world: World, partners: list[Partner]) -> None:
    record = world.plan()
    batches.record_failure(
        world.at(at(2)), record.batch, step="extract", cause="the table is missing", hint="create it"
    )

    assert state(world, partners, at(3)) == "failed"


def test_holiday_is_not_expected_and_not_planned(world: World, partners: list[Partner]) -> None:
    christmas = datetime(2026, 12, 25, tzinfo=UTC)

    assert state(world, partners, christmas.replace(hour=20), christmas.date()) == "closed"


def test_days_before_the_feed_began_are_not_missing(world: World, partners: list[Partner]) -> None:
    assert state(world, partners, at(12), date(2026, 11, 20)) == "not expected"


def test_alert_is_posted_once_for_each_state(world: World, partners: list[Partner], hook: Hook) -> None:
    for now in (at(7), at(7, 15), at(10), at(10, 15)):
        batches.alert(world.at(now), partners)

    assert [(post["state"], post["business_date"], post["batch"]) for post in hook.posted] == [
        ("late", "2026-11-21", ""),
        ("missing", "2026-11-21", ""),
    ]
    assert "no batch was planned" in str(hook.posted[0]["text"])
    assert "northwind" in str(hook.posted[0]["subject"])


def test_alert_that_nobody_took_is_posted_again(world: World, partners: list[Partner], hook: Hook) -> None:
    hook.status = 410
    batches.alert(world.at(at(7)), partners)
    hook.status = 200
    batches.alert(world.at(at(7, 15)), partners)

    assert len(hook.posted) == 1


def test_alert_without_a_webhook_is_a_log_line(
    world: World, partners: list[Partner], caplog: pytest.LogCaptureFixture
) -> None:
    world.key_vault.store.delete_secret(
        "alert-webhook"
    ) if "alert-webhook" in world.key_vault.store.secret_names() else None

    batches.alert(world.at(at(7)), partners)

    events = [json.loads(record.message) for record in caplog.records if record.name == "sealift"]
    assert [event["state"] for event in events if event["event"] == "feed.alarming"] == ["late"]


def test_alert_is_logged_while_the_vault_is_down(
    world: World, partners: list[Partner], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> str:
        raise VaultUnreachable("the vault did not answer")

    monkeypatch.setattr(world.vault, "secret", refuse)

    with pytest.raises(VaultUnreachable):
        batches.alert(world.at(at(7)), partners)

    assert "feed.alarming" in caplog.text


def test_correction_in_the_making_does_not_undo_what_was_delivered(world: World, partners: list[Partner]) -> None:
    record = world.sealed()
    files = batches.remote_files(world.context, record)
    arrived = {file.to: file.bytes for file in files}
    batches.confirm(world.at(at(3)), record, expected=files, arrived=arrived)

    correction = world.plan(revision=2)
    assert state(world, partners, at(12)) == "delivered"

    batches.record_failure(world.at(at(11)), correction.batch, step="extract", cause="no table", hint="create it")
    assert state(world, partners, at(12)) == "missing"


def test_record_that_cannot_be_read_is_an_alarm_of_its_own(world: World, partners: list[Partner]) -> None:
    record = world.plan()
    world.stores.batches.upload_blob(f"{record.batch.folder}/batch.json", b"{", overwrite=True)
    world.stores.batches.upload_blob("northwind/accruals/2026-11-21.x/batch.json", b"{}")

    standings = batches.read_standings(world.at(at(3)), partners)

    (broken,) = [each for each in standings if each.business_date == SATURDAY]
    assert (broken.state, broken.batch) == ("failed", record.batch)
    assert "cannot be read" in broken.reason
    assert state(world, partners, at(12, day=24), date(2026, 11, 22)) == "missing"


def test_webhook_address_is_never_told(
    world: World, partners: list[Partner], hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook.status = 410

    batches.alert(world.at(at(7)), partners)

    assert "teams" not in caplog.text
    assert "alert.not_taken" in caplog.text

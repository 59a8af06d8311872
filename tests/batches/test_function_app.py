"""The running app: the operator's way through a batch, and what it never discloses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from app_world import App, days
from staged_rows import staged_rows

from cli.batch import ApiRefused, main
from cli.census import main as census_main
from cli.console import CommandFailed
from cli.feeds import main as feeds_main
from local.key_vault.identity import IdentityEndpoint, TokenRefused
from local.stack import Connection
from local.wire.web import Request, Response, WebServer, json_response

DAYS = days(date(2025, 1, 6))
CANARY = "M-CANARY-51c0ffee"


@pytest.fixture
def operator(app: App, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("SEALIFT_URL", app.host.url)
    monkeypatch.setenv("SEALIFT_KEY", app.host.key)
    return app


def sealed(app: App, data: bytes | None = None) -> str:
    plan = app.plan(next(DAYS))
    app.stores.raw.upload_blob(f"{plan['raw']['folder']}/{plan['raw']['file']}", data or staged_rows())
    app.ok("POST", f"batches/{plan['batch']}/seal", json={"runId": "run-1"})
    assert app.wait(plan["batch"], "sealed", "failed") == "sealed"
    return str(plan["batch"])


def delivered(app: App, data: bytes | None = None) -> str:
    batch = sealed(app, data)
    app.ok("POST", f"batches/{batch}/confirm", json=app.send(batch, "run-1"))
    return batch


def test_operator_follows_resends_and_verifies_a_batch(operator: App, capsys: pytest.CaptureFixture[str]) -> None:
    batch = delivered(operator)

    assert main(["list", "--limit", "5"]) == 0
    assert f"{batch}  delivered" in capsys.readouterr().out
    assert main(["resend", batch, "--reason", "swept too early"]) == 0
    assert "delivery 2 is due" in capsys.readouterr().out
    assert main(["show", batch]) == 0
    shown = capsys.readouterr().out
    assert "sealed, number" in shown
    assert "swept too early" in shown
    assert "by ./sealift batch" in shown
    assert main(["verify", batch]) == 0
    assert f"{batch} is whole" in capsys.readouterr().out


def test_verify_ends_red_for_a_batch_that_is_not_whole(operator: App, capsys: pytest.CaptureFixture[str]) -> None:
    batch = sealed(operator)
    name = operator.ok("GET", f"batches/{batch}/verify")["files"][0]
    folder = batch.replace(".", "/", 2)
    operator.stores.encrypted.delete_blob(f"{folder}/{name}")
    operator.stores.encrypted.upload_blob(f"{folder}/{name}", b"something else")

    assert main(["verify", batch, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_replay_goes_on_after_a_failure(operator: App, capsys: pytest.CaptureFixture[str]) -> None:
    batch = sealed(operator)
    operator.ok("POST", f"batches/{batch}/failed", json={"cause": "the partner's disk is full"})

    assert main(["replay", batch, "--from", "deliver"]) == 0
    assert "./sealift run deliver_batch --param partner=northwind" in capsys.readouterr().out
    assert operator.state(batch) == "sealed"


def test_reindex_makes_the_index_of_each_feed_that_is_named(operator: App, capsys: pytest.CaptureFixture[str]) -> None:
    batch = operator.plan(datetime.now(UTC).date() - timedelta(days=2))["batch"]
    operator.stores.batches.upload_blob("_recent/northwind/accruals.json", b"cut", overwrite=True)

    assert main(["reindex", "--partner", "northwind", "--json"]) == 0

    (made,) = json.loads(capsys.readouterr().out)["feeds"]
    assert (made["partner"], made["feed"]) == ("northwind", "accruals")
    content = json.loads(operator.stores.batches.download_blob("_recent/northwind/accruals.json").readall())
    assert batch in content["seen"]
    assert len(content["seen"]) == made["batches"]
    assert main(["reindex"]) == 0
    assert "cedarway purchases: " in capsys.readouterr().out
    with pytest.raises(CommandFailed, match="no feed has that name"):
        main(["reindex", "--partner", "nobody"])


def test_purge_names_plaintext_that_nobody_delivered(operator: App, capsys: pytest.CaptureFixture[str]) -> None:
    operator.stores.raw.upload_blob("stray/forgotten.txt", b"x")

    assert main(["purge", "--hours", "0"]) == 1
    assert "raw/stray/forgotten.txt" in capsys.readouterr().out
    operator.stores.raw.delete_blob("stray/forgotten.txt")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["resend", "northwind.accruals.1999-01-01.1", "--reason", "why not"], "never planned"),
        (["show", "../../etc"], "not a batch id"),
        (["resend", "nonsense", "--reason", "why not"], "not a batch id"),
        (["list", "--limit", "0"], "not a number that is served"),
        (["--key", "wrong", "list"], "does not take this key"),
    ],
)
def test_operator_is_told_what_is_wrong(operator: App, argv: list[str], words: str) -> None:
    with pytest.raises(ApiRefused, match=words) as caught:
        main(argv)

    assert caught.value.hint


def test_operator_without_an_app_is_told_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEALIFT_URL", raising=False)

    with pytest.raises(ApiRefused, match="a function app"):
        main(["list"])


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    """An app behind `entraClientId`, which takes a key with the token of an operator; this process may ask for tokens."""

    def answer(request: Request) -> Response:
        try:
            caller = identity.verify(request.headers.get("Authorization", ""), "api://registered")
        except TokenRefused:
            return Response(status=401)
        if caller != "operator" or request.headers.get("x-functions-key") != "k":
            return Response(status=403)
        return json_response(200, {"batches": []})

    with IdentityEndpoint() as identity, WebServer("guarded", answer) as server:
        for name, value in identity.environment("operator").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SEALIFT_URL", server.url)
        monkeypatch.setenv("SEALIFT_KEY", "k")
        monkeypatch.delenv("SEALIFT_ENTRA_CLIENT_ID", raising=False)
        yield identity


def test_operator_brings_a_token_where_the_app_wants_one(
    guarded: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--entra", "registered", "list"]) == 0
    monkeypatch.setenv("SEALIFT_ENTRA_CLIENT_ID", "registered")
    assert main(["list"]) == 0


def test_operator_without_the_right_token_is_told_what_to_bring(
    guarded: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ApiRefused) as caught:
        main(["list"])
    assert "--entra or SEALIFT_ENTRA_CLIENT_ID" in caught.value.hint

    for name, value in guarded.environment("somebody").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ApiRefused) as caught:
        main(["--entra", "registered", "list"])
    assert "operatorPrincipalIds" in caught.value.hint

    monkeypatch.setenv("IDENTITY_HEADER", "unknown")
    with pytest.raises(ApiRefused, match="no token for api://registered") as caught:
        main(["--entra", "registered", "list"])
    assert "az login" in caught.value.hint


def test_services_left_up_by_the_demo_are_the_default(
    app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Connection(
        environment={},
        operator={},
        global_parameters={},
        linked_services={},
        function_url=app.host.url,
        function_key=app.host.key,
        accounts=[],
        folder=str(tmp_path / "services"),
        owner=os.getpid(),
    )
    kept.write(tmp_path / "kept.json")
    (tmp_path / "services" / "function").mkdir(parents=True)
    (tmp_path / "services" / "function" / "host.log").write_text(CANARY)
    monkeypatch.setattr("local.kept.KEPT", tmp_path / "kept.json")

    assert main(["list"]) == 0
    assert census_main([CANARY]) == 1
    assert "host.log: the canary" in capsys.readouterr().out


def test_resend_without_a_reason_is_refused(app: App) -> None:
    batch = delivered(app)

    for reason in ("", "  ", "x"):
        answer = app.call("POST", f"batches/{batch}/resend", json={"who": "ana", "reason": reason})
        assert answer.status_code == 422
    assert app.state(batch) == "delivered"


def test_nothing_that_was_delivered_is_told_by_answers_or_logs(app: App) -> None:
    batch = delivered(app, staged_rows(100, CANARY))
    told = [app.call("GET", f"batches/{batch}{path}").text for path in ("", "/ledger", "/verify")]
    told += [app.call("GET", "batches").text, app.log()]

    assert CANARY not in "".join(told)
    assert app.host.key not in "".join(told)
    assert "AccountKey=" not in "".join(told)


def test_address_without_an_app_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiRefused, match="does not answer"):
        main(["--url", "http://127.0.0.1:9", "--key", "k", "list"])


def test_feeds_are_listed_with_their_next_run_and_explained(operator: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert feeds_main(["--days", "2", "--partner", "northwind"]) in (0, 1)
    listed = capsys.readouterr().out
    assert "northwind accruals: covers day, next run " in listed
    assert feeds_main(["--days", "2", "--partner", "northwind", "--grid"]) in (0, 1)
    title, days, line, _ = capsys.readouterr().out.split("\n", 3)
    assert len(title.split()) == 2 + 1 + 3, "two days back, today, three to come"
    assert days.startswith("feed")
    assert line.startswith("northwind accruals")
    assert " UTC)" in listed
    assert "  due " in listed

    assert feeds_main(["explain", "northwind", "accruals", "2026-12-26"]) == 0
    explained = capsys.readouterr().out
    assert "not due: Boxing Day" in explained
    assert feeds_main(["explain", "northwind", "accruals", "2026-11-24", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["covers"] == {"first": "2026-11-23", "last": "2026-11-23"}
    assert (run["at"], run["dueBy"]) == ("2026-11-24T02:00:00+00:00", "2026-11-24T06:00:00+00:00")


def test_unknown_partner_is_an_error_and_no_empty_list(operator: App) -> None:
    with pytest.raises(ApiRefused, match="there is no partner 'northwin'"):
        main(["list", "--partner", "northwin"])
    with pytest.raises(CommandFailed, match="there is no partner 'northwin'"):
        feeds_main(["--partner", "northwin"])


def test_backfill_lists_and_plans_only_after_a_yes(
    operator: App, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = ["2024-03-04", "2024-03-05"]
    monkeypatch.setattr("builtins.input", lambda _question: "n")
    assert feeds_main(["--partner", "northwind", "--backfill", *days]) == 1
    listed = capsys.readouterr().out
    assert "northwind.accruals.2024-03-05.1: 2024-03-05 to 2024-03-05 to northwind" in listed
    assert "nothing was planned" in listed

    assert feeds_main(["--partner", "northwind", "--backfill", *days, "--yes"]) == 0
    assert "./sealift run deliver_batch --param partner=northwind" in capsys.readouterr().out
    assert main(["list", "--partner", "northwind", "--date", "2024-03-05", "--state", "planned"]) == 0
    assert "northwind.accruals.2024-03-05.1  planned" in capsys.readouterr().out

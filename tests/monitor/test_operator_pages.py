"""What the pages show, held by words and not by pixels."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from html import unescape

import pytest
from monitor_world import NOW, Pages, Reader

from batches import ledger
from batches.certificates import InUse, remember_certificates
from batches.ledger import Note
from batches.record import Resend
from monitor.states import LOOKS
from partners import load_partner

PATHS = ("", "batches", "batch/northwind.accruals.2026-12-05.1", "batch/northwind.accruals.2026-12-06.1")
MORE_PATHS = ("partner/northwind", "nights")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}&amp;\u202e"


def test_overview_shows_every_state_by_word_and_glyph(seeded: Pages) -> None:
    shown = Reader(seeded.get().body)

    titles = {title.partition(": ")[2].partition(",")[0] for title in shown.attributes("title")}
    assert titles >= {
        "delivered",
        "delivered late",
        "acknowledged",
        "rejected",
        "empty",
        "missing",
        "unreadable",
        "superseded",
    }
    assert titles >= {"closed", "open"}
    for look in LOOKS.values():
        assert look.glyph.strip()
        assert look.words


def test_states_are_those_of_the_standings(seeded: Pages) -> None:
    from batches import read_standings
    from batches.expecting import usable_partners

    standings = read_standings(seeded.context, usable_partners(seeded.context), back_days=34)

    judged = {(each.partner, each.feed, str(each.business_date)): each for each in standings}
    cells = {(row["partner"], row["feed"], cell["day"]): cell for row in seeded.json()["rows"] for cell in row["cells"]}
    for key, standing in judged.items():
        if key in cells and standing.state != "open" and cells[key]["state"] != "unreadable":
            assert cells[key]["state"] == standing.state, key


def test_batch_whose_days_a_later_one_took_is_superseded_here_and_in_the_standings(seeded: Pages) -> None:
    from batches import read_standings
    from batches.expecting import usable_partners

    day, why = date(2026, 12, 7), "it never left: its days are in batch northwind.accruals.2026-12-08.1"
    standings = read_standings(seeded.context, usable_partners(seeded.context), back_days=34)
    (standing,) = [each for each in standings if (each.feed, each.business_date) == ("accruals", day)]
    (cell,) = [
        cell
        for row in seeded.json()["rows"]
        for cell in row["cells"]
        if row["feed"] == "accruals" and cell["day"] == str(day)
    ]

    assert (standing.state, standing.reason) == (cell["state"], cell["reason"]) == ("superseded", why)
    assert str(day) not in [each["cell"]["day"] for each in seeded.json()["attention"]]


def test_overview_names_what_asks_for_somebody_with_its_cause(seeded: Pages) -> None:
    text = Reader(seeded.get().body).text

    assert "line 4: the total is not ours" in text
    assert "the vault did not answer" in text
    assert "no batch was planned" in text


def test_certificate_that_expires_soon_is_named_and_no_other(seeded: Pages) -> None:
    expiries = seeded.json()["expiries"]

    assert [(each["partner"], each["days"]) for each in expiries] == [("northwind", 20)]


def test_failed_batch_has_cause_action_and_the_exact_command(seeded: Pages) -> None:
    text = Reader(seeded.get("batch/northwind.accruals.2026-12-05.1").body).text

    assert "the vault did not answer" in text
    assert "fix it, then replay the batch" in text
    assert "./sealift batch replay northwind.accruals.2026-12-05.1 --from seal" in text


def test_batch_that_failed_before_its_rows_were_there_is_run_again(pages: Pages) -> None:
    pages.failed("2026-12-05", "the warehouse is down")
    record = pages.batch("2026-12-09")
    failed = pages.failed("2026-12-10", "x").failure
    pages.write(
        f"{record.batch.folder}/batch.json", record.model_copy(update={"failure": failed}).model_dump_json().encode()
    )

    text = Reader(pages.get("batch/northwind.accruals.2026-12-09.1").body).text

    assert "./sealift run deliver_batch --param partner=northwind --param feed=accruals" in text
    assert "--param windowStart=2026-12-09T00:00:00Z --param windowEnd=2026-12-10T00:00:00Z" in text


def test_batch_has_its_timeline_receipt_and_answer(seeded: Pages) -> None:
    text = Reader(seeded.get("batch/northwind.accruals.2026-12-03.1").body).text

    assert "planned" in text
    assert "31,000" in text
    assert "2.3 MiB" in text
    assert "rejected: line 4: the total is not ours" in text
    assert "the chain is whole" in text


def test_unreadable_record_is_shown_and_breaks_no_page(seeded: Pages) -> None:
    page = seeded.get("batch/northwind.accruals.2026-12-06.1")

    assert page.status == 200
    assert "unreadable" in Reader(page.body).text
    assert "./sealift batch verify northwind.accruals.2026-12-06.1" in page.body
    assert "unreadable" in Reader(seeded.get("batches").body).text


@pytest.mark.parametrize("name", ["receipt.json", "answer.json", "recent.json"])
def test_any_blob_that_is_cut_is_shown_as_unreadable(pages: Pages, name: str) -> None:
    record = pages.delivered("2026-12-02", answer="acknowledged")
    blob = "_recent/northwind/accruals.json" if name == "recent.json" else f"{record.batch.folder}/{name}"
    pages.write(blob, b"\x00{")

    assert pages.get().status == pages.get("batches").status == 200
    state = pages.json(f"batch/{record.batch}")["state"]
    assert state == ("acknowledged" if name == "recent.json" else "unreadable")


def test_batch_without_a_feed_of_today_is_still_shown(pages: Pages) -> None:
    pages.delivered("2026-12-02", partner="gone", feed="away")

    assert "delivered" in Reader(pages.get("batch/gone.away.2026-12-02.1").body).text


def test_list_filters_sorts_and_pages(pages: Pages) -> None:
    for number in range(60):
        pages.delivered("2026-12-02", revision=number + 1, sequence=number + 1)
    pages.failed("2026-12-03", "no")

    first, second = pages.json("batches"), pages.json("batches", page="2")
    assert [first["found"], first["pages"], len(first["rows"]), len(second["rows"])] == [61, 2, 50, 11]
    assert first["rows"][0]["batch"] == "northwind.accruals.2026-12-03.1"
    assert [row["state"] for row in pages.json("batches", state="failed")["rows"]] == ["failed"]
    assert pages.json("batches", partner="cedarway")["found"] == 0
    assert pages.json("batches", **{"from": "2026-12-03"})["found"] == 1
    assert pages.json("batches", sort="state")["rows"][-1]["state"] == "delivered"


def test_batches_older_than_the_index_are_listed_for_one_feed(pages: Pages) -> None:
    pages.delivered("2025-01-05")

    refused = pages.get("batches", **{"from": "2025-01-01", "to": "2025-01-31"})
    found = pages.json("batches", partner="northwind", feed="accruals", **{"from": "2025-01-01", "to": "2025-01-31"})

    assert refused.status == 422
    assert [row["batch"] for row in found["rows"]] == ["northwind.accruals.2025-01-05.1"]


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "batch",
        "batch/x",
        f"batch/{HOSTILE}",
        "batches/more",
        "partner/x",
        "nights/x",
        "../batches",
        "batch/a.b.2026-12-01.1",
    ],
)
def test_unknown_address_is_404_and_repeats_nothing(seeded: Pages, path: str) -> None:
    page = seeded.get(path, secret_word="echo-me")

    assert page.status == 404
    assert "echo-me" not in page.body
    assert path == "batch" or path not in page.body
    assert "alert(1)" not in unescape(page.body)


@pytest.mark.parametrize(
    "query",
    [
        {"page": "0"},
        {"page": "x"},
        {"sort": "secret"},
        {"state": HOSTILE},
        {"partner": "../x"},
        {"from": "yesterday"},
        {"from": "2026-12-02", "to": "2026-12-01"},
        {"at": "now"},
        {"at": "2026-12-01T00:00:00"},
    ],
)
def test_wrong_query_is_422_and_repeats_nothing(seeded: Pages, query: dict[str, str]) -> None:
    page = seeded.get("batches", **query)

    assert page.status == 422
    assert "script" not in unescape(page.body).partition("</style>")[2]


def test_pages_are_off_unless_switched_on(seeded: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONITOR")

    for path in PATHS:
        assert seeded.get(path).status == 404


def test_key_is_carried_by_links_and_shown_nowhere(seeded: Pages) -> None:
    for path in (*PATHS, *MORE_PATHS):
        page = seeded.get(path, key="kee/y=&<x", code="kee/y=&<x")
        shown = Reader(page.body)

        links = [link for link in shown.attributes("href") if link.startswith("/api/monitor")]
        assert links
        assert all("code=kee%2Fy%3D%26%3Cx" in link for link in links)
        assert "kee" not in shown.text
        assert "kee" not in seeded.get(path, key="kee/y", code="kee/y", format="json").body


def test_link_without_a_key_in_the_address_has_none(seeded: Pages) -> None:
    assert "code=" not in seeded.get().body


def test_policy_allows_the_one_style_and_nothing_else(seeded: Pages) -> None:
    page = seeded.get()
    policy = page.headers["Content-Security-Policy"]

    (style,) = re.findall(r"<style>(.*?)</style>", page.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "frame-ancestors 'none'" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(r"<script|style=|\son\w+=|https?://", page.body)


def test_page_that_did_not_change_is_304(seeded: Pages) -> None:
    page = seeded.get()

    again = seeded.get(etag=page.headers["ETag"])

    assert (again.status, again.body) == (304, "")


def test_address_can_fix_the_clock(seeded: Pages) -> None:
    assert seeded.json(at="2026-12-02T12:00:00Z")["now"] == "2026-12-02T12:00:00+00:00"
    assert "at=2026-12-02T12%3A00%3A00Z" in seeded.get(at="2026-12-02T12:00:00Z").body


def test_hostile_text_is_text_in_every_field(pages: Pages) -> None:
    wish = Resend(at=NOW, who=HOSTILE, reason=HOSTILE)
    failed = pages.failed("2026-12-05", HOSTILE)
    hostile = {"files": [HOSTILE], "folder": HOSTILE, "format": HOSTILE, "route": HOSTILE, "run_id": HOSTILE}
    changed = failed.model_copy(update={**hostile, "resends": [wish], "failures_before": [failed.failure]})
    pages.write(f"{failed.batch.folder}/batch.json", changed.model_dump_json().encode())
    context = pages.at(datetime(2026, 12, 6, tzinfo=UTC))
    ledger.note(
        context, failed.batch, Note(HOSTILE, who=HOSTILE, details={HOSTILE: HOSTILE, "more": {HOSTILE: [HOSTILE]}})
    )
    pages.delivered("2026-12-06", answer="rejected", reason=HOSTILE)
    pages.write(
        f"{failed.batch.folder}/receipt.2.json",
        pages.context.stores.batches.download_blob("northwind/accruals/2026-12-06.1/receipt.json")
        .readall()
        .replace(b"NW_2026-12-06.txt", b"<script>x"),
    )

    used = InUse(purpose="partner", secret=HOSTILE, expires=NOW, thumbprint=HOSTILE)
    remember_certificates(context, "northwind", (used,))
    dbt = {"run_id": HOSTILE, "status": HOSTILE, "message": HOSTILE, "started": "2026-12-06T01:00:00Z"}
    assert pages.context.stores.dbt is not None
    pages.context.stores.dbt.upload_blob("state/runs.json", json.dumps({"runs": [dbt]}).encode())
    pages.context.stores.encrypted.upload_blob(
        f"{failed.batch.folder}/manifest.json",
        json.dumps(
            {"files": [{"name": HOSTILE}], HOSTILE: HOSTILE, "totals": {"rows": HOSTILE, "sums": [{"column": HOSTILE}]}}
        ),
    )

    batches = (f"batch/{failed.batch}", "batch/northwind.accruals.2026-12-06.1")
    for path in ("", "batches", *batches, "partner/northwind", "nights"):
        page = pages.get(path, **({"date": "2026-12-06"} if path == "nights" else {}))
        shown = Reader(page.body)

        assert page.status == 200
        assert "alert(1)" in shown.text
        assert "{{7*7}}" in shown.text
        json.loads(pages.get(path, format="json").body)
        tags = {tag for tag, _ in shown.elements}
        assert not tags & {"script", "img", "iframe", "object", "form"} - {"form"}
        assert not [name for _, attributes in shown.elements for name in attributes if name.startswith("on")]


def test_partner_has_punctuality_sizes_schedule_and_host_keys(seeded: Pages) -> None:
    page = seeded.json("partner/northwind")

    (feed,) = page["feeds"]
    assert (feed["on_time"], feed["judged"]) == (28, 29)
    assert feed["seconds"][0] == 540
    assert feed["schedule"] == "at 02:00 UTC, also on closed days"
    assert feed["usual_bytes"] == 2_400_000
    assert page["host_keys"][0].startswith("ssh-rsa SHA256:")
    assert "by 06:00, 1 day after the business date" in Reader(seeded.get("partner/northwind").body).text


def test_night_shows_each_batch_of_the_day_from_planning_to_receipt(seeded: Pages) -> None:
    night = seeded.json("nights", date="2026-12-02")

    late = next(bar for bar in night["bars"] if bar["batch"] == "northwind.accruals.2026-12-01.1")
    assert (late["start"], late["end"]) == ("2026-12-02T02:00:00+00:00", "2026-12-02T07:30:00+00:00")
    assert late["x"] < late["due_x"] < late["x"] + late["width"]
    body = seeded.get("nights", date="2026-12-02").body
    assert body.count("<rect") == len(night["bars"]) == 3
    assert "Nothing was planned" in seeded.get("nights", date="2026-11-01").body


def test_night_shows_every_run_of_dbt_that_began_on_it(pages: Pages) -> None:
    dbt = pages.context.stores.dbt
    assert dbt is not None
    runs = [
        {"run_id": f"r{day}", "status": "success", "message": HOSTILE, "started": f"2026-12-{day}T01:00:00Z"}
        | {"finished": f"2026-12-{day}T01:04:00Z", "other": 1}
        for day in (27, 26, 25)
    ]
    refused = {"run_id": "r0", "status": "error", "message": "no request", "started": "", "finished": ""}
    dbt.upload_blob("state/runs.json", json.dumps({"runs": [refused, runs[0], *runs]}).encode())

    bars = pages.json("nights", date="2026-12-26")["bars"]
    assert [(bar["name"], bar["state"], bar["end"]) for bar in bars] == [
        ("dbt", "success", "2026-12-26T01:04:00+00:00")
    ]
    assert len(pages.json("nights")["bars"]) == 2
    assert "<script>" not in pages.get("nights").body
    assert "alert(1)" in Reader(pages.get("nights").body).text

    dbt.upload_blob("state/runs.json", b"{", overwrite=True)
    assert "No run of dbt that began on this day is on record" in pages.get("nights").body


def test_batch_has_speed_attempts_and_totals_with_their_witnesses(pages: Pages) -> None:
    record = pages.staged("2026-12-05")
    at = record.planned_at
    for minutes, note in (
        (1, Note("extracted", details={"bytes": 3_000_000})),
        (2, Note("shaped", details={"rows": 31_000, "sums": {"amount": "12.50"}, "control_totals_agree": True})),
        (3, Note("accepted", details={"bytes": 2_400_001})),
        (4, Note("failed", details={"step": "seal", "cause": "the vault did not answer"})),
        (6, Note("sealed")),
    ):
        ledger.note(pages.at(at + timedelta(minutes=minutes)), record.batch, note)
    manifest = {"files": [{"name": record.files[0], "sealed_bytes": 2_500_000}]}
    manifest["totals"] = {"rows": 31_000, "plaintext_bytes": 2_400_000, "sums": [{"column": "amount", "sum": "12.50"}]}
    pages.context.stores.encrypted.upload_blob(f"{record.batch.folder}/manifest.json", json.dumps(manifest).encode())

    page = pages.json(f"batch/{record.batch}")

    steps = {step["name"]: (step["bytes"], step["rate"], step["attempt"]) for step in page["steps"]}
    assert steps["extracted"] == (3_000_000, 50_000.0, 1)
    assert steps["sealed"] == (2_400_000, 20_000.0, 2)
    assert steps["failed"] == (None, None, 1)
    totals = {total["what"]: dict(total["said"]) for total in page["totals"]}
    assert totals["rows"] == {"shaping": "31000", "the record": "31000", "the signed manifest": "31000"}
    assert totals["sum of amount"] == {"shaping": "12.50", "the signed manifest": "12.50"}
    text = Reader(pages.get(f"batch/{record.batch}").body).text
    assert re.search(r"bytes before sealing ! no 2400001 by accepting; 2400000 by the record", text)
    assert re.search(r"rows ✓ yes 31000 by shaping", text)
    assert "agree by shaping" in text


def test_partner_has_the_days_of_its_keys_and_host_keys(pages: Pages) -> None:
    old, new = (InUse(purpose="partner", secret="s", expires=None, thumbprint=each) for each in ("OLD", "NEW"))
    pins = load_partner("northwind").sftp.host_keys
    remember_certificates(pages.at(datetime(2026, 12, 1, 2, tzinfo=UTC)), "northwind", (old,), pins)
    remember_certificates(pages.at(datetime(2026, 12, 9, 2, tzinfo=UTC)), "northwind", (new,), pins)

    text = Reader(pages.get("partner/northwind").body).text

    assert "partner s NEW 2026-12-09 02:00 UTC in use" in text
    assert "partner s OLD 2026-12-01 02:00 UTC 2026-12-09 02:00 UTC" in text
    assert "host key ssh-rsa SHA256:" in text

"""A partner file is checked when it is read, and becomes exactly one query and one name for a window."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml

from partners import PartnerInvalid, UnknownPartner, load_partner, load_partners, stage_query
from partners.loading import FOLDER

NORTHWIND = yaml.safe_load((FOLDER / "northwind.yaml").read_text())


FILE_ANSWER = {"kind": "file", "folder": "/answers", "pattern": "{name}.ack", "says": "accepted"}
RECEIPT = {
    "kind": "receipt",
    "folder": "/answers",
    "pattern": "receipt*.csv",
    "name_column": "file",
    "status_column": "status",
    "accepted": ["OK"],
}


def write(folder: Path, change: dict[str, object] | None = None, feed: dict[str, object] | None = None) -> Path:
    data = {**NORTHWIND, **(change or {})}
    data["feeds"] = {"accruals": {**NORTHWIND["feeds"]["accruals"], **(feed or {})}}
    (folder / "northwind.yaml").write_text(yaml.safe_dump(data))
    return folder


def fault_of(folder: Path) -> str:
    with pytest.raises(PartnerInvalid) as caught:
        load_partner("northwind", folder=folder)
    assert caught.value.hint
    return str(caught.value)


def test_every_partner_file_of_the_repository_is_valid() -> None:
    assert "northwind" in [partner.name for partner in load_partners()]


def test_unknown_partner_names_the_known_ones() -> None:
    with pytest.raises(UnknownPartner) as caught:
        load_partner("southwind")

    assert caught.value.status == 404
    assert "northwind" in caught.value.hint


@pytest.mark.parametrize("name", ["../northwind", "northwind/../northwind", "", "NORTHWIND", "northwind.yaml"])
def test_a_partner_name_is_never_a_path(name: str) -> None:
    with pytest.raises(UnknownPartner):
        load_partner(name)


def test_unknown_field_is_refused_with_its_place(tmp_path: Path) -> None:
    text = fault_of(write(tmp_path, feed={"delimeter": ";"}))

    line = (tmp_path / "northwind.yaml").read_text().split("delimeter")[0].count("\n") + 1
    assert f"northwind.yaml:{line}: feeds.accruals.delimeter" in text


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = fault_of(write(tmp_path, {"time_zone": "Europe/Lndon"}, {"route": "carrier-pigeon"}))

    assert "time_zone" in text
    assert "Europe/Lndon" in text
    assert "feeds.accruals.route" in text


def test_file_must_be_called_as_its_partner(tmp_path: Path) -> None:
    assert "southwind" in fault_of(write(tmp_path, {"name": "southwind"}))


def test_key_written_twice_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "northwind.yaml").read_text()
    (tmp_path / "northwind.yaml").write_text(text + "\ntitle: Another\n")

    assert "title" in fault_of(tmp_path)


def test_broken_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "northwind.yaml").write_text("name: [")

    assert "northwind.yaml" in fault_of(tmp_path)


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ({"columns": ["a", "a"]}, "more than once"),
        ({"columns": ['a"; drop table x; --']}, "columns"),
        ({"table": "marts.x; drop table y"}, "table"),
        ({"where": {"a b": "x"}}, "where"),
        ({"file_name": "daily.txt"}, "{sequence}"),
        ({"file_name": "../{sequence}.txt"}, "letters, digits"),
        ({"file_name": "{sequence.__class__}.txt"}, "file_name"),
        ({"file_name": "{secret}{sequence}.txt"}, "file_name"),
        ({"file_name": "NW_{sequence.denominator}.txt"}, "file_name"),
        ({"file_name": "NW_{date.year}_{sequence}.txt"}, "file_name"),
        ({"file_name": "NW_{sequence:06d}.txt\n"}, "letters, digits"),
        ({"file_name": "NW_{sequence:g}.txt"}, "file_name"),
        ({"folder": "/inbox/../.ssh"}, "folder"),
        ({"folder": "inbox"}, "folder"),
        ({"columns": [{"name": "amount", "type": "decimal"}]}, "scale"),
        ({"columns": [{"name": "amount", "scale": 2}]}, "scale"),
        ({"layout": {"delimiter": "||"}}, "delimiter"),
        ({"layout": {"delimiter": "\n"}}, "delimiter"),
        ({"layout": {"delimiter": "'", "quote": "'"}}, "layout: delimiter and quote are the same"),
        ({"days": []}, "days"),
        ({"holidays": {"country": "XX"}}, "holidays: no holiday calendar for 'XX'"),
        ({"holidays": {"country": "GB", "subdivision": "SCOTLAND"}}, "no holiday calendar for 'GB SCOTLAND'"),
        ({"holidays": {"subdivision": "ENG"}}, "'ENG' has no country"),
        ({"answers": [{**FILE_ANSWER, "pattern": "{file}.ack"}]}, "it may use {name}, {stem}"),
        ({"answers": [{**FILE_ANSWER, "pattern": "{name.stem}.ack"}]}, "it may use {name}, {stem}"),
        ({"answers": [{**FILE_ANSWER, "pattern": "{name.__class__}.ack"}]}, "it may use {name}, {stem}"),
        ({"answers": [{**RECEIPT, "rejected": ["OK"]}]}, "others than for rejected"),
        (
            {"answers": [{**RECEIPT, "encoding": "utf8-bom"}]},
            "answers.0.receipt: 'utf8-bom' is not an encoding",
        ),
        ({"answers": [{**RECEIPT, "encoding": "base64"}]}, "'base64' is not an encoding"),
        ({"answers": [{**RECEIPT, "delimiter": "\n"}]}, "delimited by"),
        ({"answers": [{**RECEIPT, "rejected_records_column": "bad"}]}, "accepted_records_column"),
    ],
)
def test_bad_feed_is_refused(tmp_path: Path, feed: dict[str, object], words: str) -> None:
    assert words in fault_of(write(tmp_path, feed=feed))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"temporary": {"kind": "none"}, "connections": 4}, "set connections to 1"),
        ({"temporary": {"text": ""}}, "the temporary suffix is empty"),
        ({"temporary": {"kind": "prefix", "text": "tmp/"}}, "use the rule 'folder'"),
    ],
)
def test_delivery_rules_that_contradict_themselves_are_refused(
    tmp_path: Path, rules: dict[str, object], words: str
) -> None:
    text = fault_of(write(tmp_path, {"delivery": rules}, {"route": "function"}))

    assert re.search(r"northwind\.yaml:\d+: delivery", text)
    assert words in text


def test_unknown_legacy_algorithm_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    text = fault_of(write(tmp_path, {"sftp": {**NORTHWIND["sftp"], "legacy": ["3des-cbc"]}}))

    assert "sftp: legacy: 3des-cbc is not offered; it may name aes" in text


def test_two_feeds_never_share_a_name_in_a_folder(tmp_path: Path) -> None:
    accruals = NORTHWIND["feeds"]["accruals"]
    twin = {**accruals, "folder": f"{accruals['folder']}/"}
    (tmp_path / "northwind.yaml").write_text(
        yaml.safe_dump({**NORTHWIND, "feeds": {"accruals": accruals, "twin": twin}})
    )

    assert "feeds accruals and twin write the same file_name" in fault_of(tmp_path)


def test_wrong_file_of_one_partner_leaves_the_others(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "southwind.yaml").write_text("name: [")
    faults: dict[str, PartnerInvalid] = {}

    assert [partner.name for partner in load_partners(folder=tmp_path, on_fault=faults.__setitem__)] == ["northwind"]
    assert "partners/southwind.yaml" in str(faults["southwind"])


@pytest.mark.parametrize("key", ["ssh-rsa", "ssh-rsa !!!", "ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAAAQQ==", "AAAA"])
def test_host_key_must_be_a_public_key_line(tmp_path: Path, key: str) -> None:
    assert "sftp.host_keys.0: host key pin" in fault_of(
        write(tmp_path, {"sftp": {**NORTHWIND["sftp"], "host_keys": [key]}})
    )


def test_partner_without_a_pinned_host_key_is_refused(tmp_path: Path) -> None:
    assert "host_keys" in fault_of(write(tmp_path, {"sftp": {**NORTHWIND["sftp"], "host_keys": []}}))


def test_a_stage_may_point_a_partner_at_another_server() -> None:
    partner = load_partner("northwind", {"northwind": {"host": "127.0.0.1", "port": 2222}})

    assert (partner.sftp.host, partner.sftp.port, partner.sftp.user) == ("127.0.0.1", 2222, "sealift")


def test_host_key_is_told_to_data_factory_in_its_own_form() -> None:
    # ssh-keygen -l -E md5 prints the same digest and length for this key.
    assert load_partner("northwind").sftp.adf_host_key == (
        "ssh-rsa 3072 4f:d8:2a:0f:16:f3:05:16:8b:15:10:e1:e7:5b:88:e3"
    )


def test_business_date_is_that_of_the_partner() -> None:
    partner = load_partner("northwind")

    assert partner.business_date(datetime(2026, 7, 1, 22, 59, tzinfo=UTC)) == date(2026, 7, 1)
    assert partner.business_date(datetime(2026, 7, 1, 23, 0, tzinfo=UTC)) == date(2026, 7, 2)


def test_query_names_columns_filters_and_order_and_nothing_else(tmp_path: Path) -> None:
    feed = load_partner(
        "northwind",
        folder=write(
            tmp_path,
            feed={
                "columns": ["member_number", {"name": "amount", "type": "decimal", "scale": 2}],
                "where": {"partner_code": "O'NEILL"},
                "control": None,
            },
        ),
    ).feeds["accruals"]

    query = stage_query(feed, date(2026, 11, 21))

    table = '"marts"."partner_daily_accruals"'
    where = f"FROM {table} WHERE \"business_date\" = DATE '2026-11-21' AND \"partner_code\" = 'O''NEILL'"
    picked = 'row_number() OVER o AS row_n, rank() OVER o AS row_r, "member_number", "amount"'
    assert query.startswith(
        f'WITH picked AS MATERIALIZED (SELECT {picked} {where} WINDOW o AS (ORDER BY "transaction_id"))'
        ' SELECT json_build_array(row_n, "member_number"::text, "amount"::text)::text AS row FROM picked UNION ALL SELECT '
    )
    assert "'sums', json_build_object('amount', sum(\"amount\")::text)" in query
    assert query.count('FROM "marts".') == 2, "its rows, and the range of the table where it has none"

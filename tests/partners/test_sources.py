"""sources.yaml: which databases feeds may name, what is refused, and the T-SQL that lets them be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.partner_lint import lint
from partners import PartnerInvalid, load_partner, load_partners
from partners.loading import EXAMPLES, FOLDER, read_partner
from partners.source_grants import grants, missing_grants, tables_of
from partners.sources import load_sources

CLOUD = "crm: {kind: azure-sql, server: crm.database.windows.net, database: crm}\n"
GROUND = (
    "erp: {kind: sql-server, server: 'erp.corp.example,1433', database: erp, user: reader, password: erp-password}\n"
)


def sources(folder: Path, text: str) -> Path:
    (folder / "sources.yaml").write_text(text)
    return folder


def test_stage_replaces_only_what_it_names(tmp_path: Path) -> None:
    found = load_sources(sources(tmp_path, CLOUD + GROUND), {"crm": {"server": "crm-dev.database.windows.net"}})

    assert (found["crm"].server, found["crm"].database) == ("crm-dev.database.windows.net", "crm")
    assert found["erp"].user == "reader"
    assert load_sources(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("stage", [{"cmr": {"server": "crm-dev.example"}}, {"crm": "crm-dev.example"}, {"crm": None}])
def test_stage_that_names_no_source_is_refused_and_reads_no_other_database(tmp_path: Path, stage: Any) -> None:
    with pytest.raises(PartnerInvalid, match=r"the setting FEED_SOURCES: c[mr]+: no fields of a source") as caught:
        load_sources(sources(tmp_path, CLOUD), stage, names={"crm"})

    assert "azd env set SEALIFT_FEED_SOURCES" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crm: {kind: oracle, server: a, database: b}\n", "sources.yaml:1: crm.kind"),
        ("crm: {kind: azure-sql, server: a, database: b, password: c}\n", "leave out user and password"),
        ("erp: {kind: sql-server, server: a, database: b}\n", "needs user, and password"),
        ("erp: {kind: sql-server, server: 'a;Trusted_Connection=yes', database: b, user: u, password: p}\n", "erp.server"),
        ("crm: {kind: azure-sql, server: a, database: 'b;Encrypt=no'}\n", "crm.database"),
        ("warehouse: {kind: azure-sql, server: a, database: b}\n", "is the PostgreSQL of every feed"),
        ("crm: {kind: azure-sql, server: a, database: b, user: }\n  x", "sources.yaml:"),
        ("erp: {kind: sql-server, server: a, database: b, user: u, password: 'Geheim!1'}\n", "the name of the Key Vault secret"),
        ("crm: {kind: azure-sql, server: 'tcp:a,1433', database: b}\n", "its port after a comma"),
        ("Crm: {kind: azure-sql, server: a, database: b}\n", "small letters, digits and -"),
        ("crm\n", "sources.yaml:1: the file is not a list of sources by name"),
        ("[]\n", "sources.yaml:1: the file is not a list of sources by name"),
    ],
)  # fmt: skip
def test_source_that_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PartnerInvalid) as caught:
        load_sources(sources(tmp_path, text))

    assert words in str(caught.value)
    assert "Geheim" not in str(caught.value)


def test_fault_of_one_source_is_no_fault_of_a_partner_that_reads_another(tmp_path: Path) -> None:
    sources(tmp_path, CLOUD + "erp: {kind: oracle, server: a, database: b}\n")
    text = (FOLDER / "northwind.yaml").read_text()
    for name, source in (("northwind", "crm"), ("eastwind", "erp"), ("westwind", "erq")):
        changed = text.replace("    table: marts", f"    source: {source}\n    table: marts", 1)
        (tmp_path / f"{name}.yaml").write_text(changed.replace("name: northwind\n", f"name: {name}\n", 1))

    assert load_partner("northwind", folder=tmp_path).feeds["accruals"].source == "crm"
    with pytest.raises(PartnerInvalid, match=r"sources.yaml:2: erp.kind"):
        load_partner("eastwind", folder=tmp_path)
    with pytest.raises(PartnerInvalid, match="erq is not in") as caught:
        load_partner("westwind", folder=tmp_path)
    assert "warehouse, crm, erp" in caught.value.hint


def test_feed_may_only_name_a_source_that_is_there(tmp_path: Path) -> None:
    sources(tmp_path, CLOUD)
    text = (FOLDER / "northwind.yaml").read_text()
    (tmp_path / "northwind.yaml").write_text(text.replace("    table: marts", "    source: crn\n    table: marts", 1))

    with pytest.raises(PartnerInvalid) as caught:
        load_partner("northwind", folder=tmp_path)

    assert "feeds.accruals.source: crn is not in sources.yaml" in str(caught.value)
    assert "warehouse, crm" in caught.value.hint


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("{name: a, type: decimal, scale: 2, stored: float}", "are for sources of SQL Server"),
        ("{name: a, type: timestamp, zone: UTC}", "are for sources of SQL Server"),
        ("{name: a, stored: float}", "belongs to type: decimal or integer"),
        ("{name: a, type: integer, stored: time}", "belongs to type: text"),
        ("{name: a, zone: UTC}", "zone belongs to type: timestamp"),
        ("{name: a, type: timestamp, zone: Europe/Berlin}", "should match pattern"),
    ],
)
def test_column_key_out_of_place_is_refused(tmp_path: Path, column: str, words: str) -> None:
    text = (FOLDER / "northwind.yaml").read_text()
    (tmp_path / "northwind.yaml").write_text(text.replace("      - member_number\n", f"      - {column}\n"))

    with pytest.raises(PartnerInvalid) as caught:
        load_partner("northwind", folder=tmp_path)

    assert words in str(caught.value)


def test_grants_are_those_of_the_feeds_tables_alone() -> None:
    found, partners = load_sources(EXAMPLES), load_partners(folder=EXAMPLES)

    assert grants(found["shop"], tables_of(partners, "shop"), "adf-sealift-dev") == [
        "if not exists (select * from sys.database_principals where name = N'adf-sealift-dev') create user [adf-sealift-dev] from external provider;",  # noqa: E501
        "grant select on [sales].[PartnerOrders] to [adf-sealift-dev];",
    ]
    assert "N'[sales].[PartnerOrders]'" in missing_grants(found["shop"], tables_of(partners, "shop"), "adf-sealift-dev")


def test_server_of_ones_own_needs_a_login_and_snapshot_isolation(tmp_path: Path) -> None:
    found = load_sources(sources(tmp_path, GROUND))

    assert grants(found["erp"], ["dbo.O"], "adf") == [
        "if not exists (select * from sys.database_principals where name = N'reader') create user [reader] for login [reader];",
        "alter database current set allow_snapshot_isolation on;",
        "grant select on [dbo].[O] to [reader];",
    ]


def test_lint_reports_a_faulty_source_that_no_feed_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "northwind.yaml").write_text((FOLDER / "northwind.yaml").read_text())
    sources(tmp_path, "crm: {kind: azure-sql, server: a}\n")

    assert lint(tmp_path) == 1
    assert "partners/sources.yaml:1: crm.database" in capsys.readouterr().out


def test_partner_may_not_be_called_as_the_file_of_the_sources(tmp_path: Path) -> None:
    text = (FOLDER / "northwind.yaml").read_text().replace("name: northwind\n", "name: sources\n", 1)
    (tmp_path / "draft.yaml").write_text(text)

    with pytest.raises(PartnerInvalid, match="give the partner another name"):
        read_partner(tmp_path / "draft.yaml")

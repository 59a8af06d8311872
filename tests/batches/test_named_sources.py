"""What Plan answers about a feed's database: enough for Data Factory to choose its Copy and to reach it, and no secret."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from batch_world import DAY, START, World

import batches
from batches import Context, Window
from batches.planning import describe, describe_source
from partners import PartnerError, load_partner, loading

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "cloud: {kind: azure-sql, server: a.example, database: shop}\n"
    "ground: {kind: sql-server, server: 'b.example,1433', database: erp, user: reader, password: erp-password}\n"
)


def context(
    world: World, folder: Path, source: str, monkeypatch: pytest.MonkeyPatch, **stage: dict[str, str]
) -> Context:
    """Return a context in which northwind's feed reads another database."""
    (folder / "sources.yaml").write_text(SOURCES)
    text = (loading.FOLDER / "northwind.yaml").read_text()
    (folder / "northwind.yaml").write_text(text.replace("    table: ", f"    source: {source}\n    table: ", 1))
    monkeypatch.setattr("batches.context.FOLDER", folder)
    partner = load_partner("northwind", folder=folder)
    return dataclasses.replace(world.context, sources=stage, _partners={"northwind": partner})


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("cloud", {"kind": "azure-sql", "server": "dev.example", "database": "shop"}),
        (
            "ground",
            {"kind": "sql-server", "server": "b.example,1433", "database": "erp"}
            | {"user": "reader", "passwordSecret": "erp-password"},
        ),
        ("warehouse", {"kind": "warehouse"}),
    ],
)  # fmt: skip
def test_plan_says_where_the_rows_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, wanted: dict[str, str]
) -> None:
    asked = context(world, tmp_path, source, monkeypatch, cloud={"server": "dev.example"})

    record = batches.plan(asked, "northwind", "accruals", Window(START, START + DAY))

    assert describe(asked, record)["source"] == wanted
    assert record.source == source
    assert ("sys.columns" in record.query) == (source != "warehouse")


def test_batch_whose_source_is_gone_is_refused_by_name(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = context(world, tmp_path, "cloud", monkeypatch)
    record = batches.plan(asked, "northwind", "accruals", Window(START, START + DAY))
    (tmp_path / "sources.yaml").write_text(SOURCES.splitlines()[1])

    with pytest.raises(PartnerError, match="there is no source 'cloud'"):
        describe_source(asked, record)


def test_every_kind_of_source_has_a_copy_of_its_own_and_as_many_activities() -> None:
    pipeline = json.loads((ROOT / "adf" / "pipeline" / "start_batch.json").read_text())
    (stage,) = [each for each in pipeline["properties"]["activities"] if each["name"] == "Stage"]
    cases = {case["value"]: case["activities"] for case in stage["typeProperties"]["cases"]}

    assert set(cases) == {"warehouse", "azure-sql", "sql-server"}
    assert {tuple(each["type"] for each in activities) for activities in cases.values()} == {
        ("Copy", "AzureFunctionActivity")
    }
    for kind in ("azure-sql", "sql-server"):
        assert cases[kind][0]["typeProperties"]["source"]["isolationLevel"] == "Snapshot"

"""A feed that takes the route `adf` may state only rules of delivery that Data Factory's Copy can keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from partners.errors import PartnerInvalid
from partners.loading import FOLDER, load_partner


def partner_with(folder: Path, rule: str) -> Path:
    text = (FOLDER / "northwind.yaml").read_text()
    (folder / "northwind.yaml").write_text(text.replace("sftp:\n", f"delivery: {{{rule}}}\nsftp:\n", 1))
    return folder


@pytest.mark.parametrize(
    "rule",
    [
        "marker: .done",
        "permissions: 416",
        "verify: hash",
        "overwrite: replace",
        "temporary: {kind: none}",
        "attempts: 3",
    ],
)
def test_rule_that_the_copy_cannot_keep_is_refused_by_name(tmp_path: Path, rule: str) -> None:
    with pytest.raises(PartnerInvalid, match=rf"cannot keep delivery\.{rule.partition(':')[0]}: use route: function"):
        load_partner("northwind", folder=partner_with(tmp_path, rule))


def test_partner_may_take_files_away_at_once(tmp_path: Path) -> None:
    partner = load_partner("northwind", folder=partner_with(tmp_path, "confirm: false"))

    assert partner.delivery.confirm is False

"""The extract of a batch, as Data Factory's Copy leaves it: a JSON array per row, and last the control object."""

from __future__ import annotations

import json


def staged_rows(count: int = 1, member: str = "M0001") -> bytes:
    """Return rows that the sample feed northwind.accruals takes, all of one member."""
    rows = [
        [number, f"T{number:06d}", member, "S0001", "2026-11-21T10:00:00Z", "1.00", "GBP", "1"]
        for number in range(1, count + 1)
    ]
    sums = {"amount": f"{count}.00", "points": str(count)}
    control = {"rows": count, "sums": sums, "ties": 0, "totals": [{"rows": count, "sums": sums}]}
    return "".join(json.dumps(each) + "\n" for each in [*rows, control]).encode()

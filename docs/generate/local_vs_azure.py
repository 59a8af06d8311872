"""docs/local-vs-azure.md from local/differences.json: what the laptop does otherwise than Azure, and why."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "local" / "differences.json"
PAGE = ROOT / "docs" / "local-vs-azure.md"

INTRODUCTION = """# The laptop against Azure

From `local/differences.json` by `./sealift docs`; do not edit by hand. The local function host was run side by side with
Microsoft's queue listener (WebJobs.Extensions.Storage.Queues 5.3.10) and router (WebJobs.Extensions.Http 3.2.0 on Kestrel 10),
the expression language with .NET 10 and Newtonsoft.Json 13. What is not in this table was found equal, or is refused at start
as on Azure; tests hold it: `tests/local/test_queue_listener.py`, `tests/local/test_router_cases.py` (295 recorded answers),
`tests/cases/expressions_net.json` (427). *Read* marks behaviour of Azure that is taken from its sources and was not run.

| part | case | Azure | laptop | why |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the page as the data is now."""
    rows: list[dict[str, str]] = json.loads(DATA.read_text(encoding="utf-8"))
    columns = ("part", "case", "azure", "laptop", "why")
    return INTRODUCTION + "".join(f"| {' | '.join(row[column] for column in columns)} |\n" for row in rows)

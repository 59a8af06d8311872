"""docs/local-vs-azure.md from local/differences.json: what the laptop does otherwise than Azure, and why."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "local" / "differences.json"
PAGE = ROOT / "docs" / "local-vs-azure.md"

INTRODUCTION = """# The laptop against Azure

From `local/differences.json` by `./sealift docs`; do not edit by hand. Azure itself was not run. Compared were: the local
function host with Microsoft's queue listener (WebJobs.Extensions.Storage.Queues 5.3.10, on Azurite) and router
(WebJobs.Extensions.Http 3.2.0 on Kestrel 10, without App Service's front end); the expression language with .NET 10 and
Newtonsoft.Json 13 on Linux.

What tests hold:

- **Queue**: `tests/local/test_queue_listener.py`, `test_queue_messages.py` and `test_function_queues.py` play the rows of
  the comparison that are not in the table below, on Azurite behind a proxy that refuses, delays or hangs up.
  `tests/e2e/test_outage.py` lets the queue refuse the app in the middle of a night.
- **HTTP**: `tests/local/test_router_cases.py` has 295 answers that the router gave; 282 of them hold on the wire, the other
  13 are in the table below. What concerns headers is in `test_function_host.py` or in the table.
- **Expressions**: `tests/cases/expressions_net.json` has 427 answers that .NET gave. 3.1 million inputs were compared once,
  before the causes of these cases were fixed; not again since.

A case that is in none of these tests and not in this table was not compared, or not compared again. *Read* marks behaviour
of Azure that is taken from its sources or documentation and was not run.

| part | case | Azure | laptop | why |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the page as the data is now."""
    rows: list[dict[str, str]] = json.loads(DATA.read_text(encoding="utf-8"))
    columns = ("part", "case", "azure", "laptop", "why")
    return INTRODUCTION + "".join(f"| {' | '.join(row[column] for column in columns)} |\n" for row in rows)

"""docs/cost.md: what a stage costs a month. Activities and copies are counted in adf/, so the page cannot fall behind it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.night_model import ACTIVITY_DOLLARS, Forecast, Overheads, forecast

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cost.md"
DAYS, HOURS = 30.4, 24
DBT_POLLS = 15  # a run of 15 minutes, looked at once a minute
SIZES = (1, 10, 100, 1000)
MOST_SLOTS = 50

OPENING = """# What it costs

List prices of West Europe in US dollars, rounded, taken in 2026 from Azure's price pages and **not** read from a bill: check
yours. Activities and copies are counted in `adf/` by `./sealift docs`; do not edit this page by hand. The small case is one feed
with one file a day on the route `adf`, one dbt run of 15 minutes a day, less than 5 GB of data and logs.

| part | how it is counted | small case, a month |
| --- | --- | --- |
| Container registry, Basic | fixed | 5.1 |
| Data Factory, activity runs | 1 per 1,000; see below | {activities} |
| Data Factory, copies | 0.25 per DIU-hour, 2 DIU, each copy at least a minute; {copies} copies a day | {copying} |
| dbt container, 1 vCPU and 2 GB | per second while it runs | 0.4 |
| Function app, Flex Consumption | per execution and GB-second; first 100,000 GB-s free | 0 |
| Storage, three accounts | per GB and operation | < 0.5 |
| Key Vault | 0.03 per 10,000 operations | < 0.1 |
| Log Analytics, Application Insights | first 5 GB free, then about 2.8 per GB; the app exports its own events and the SDK's \
warnings only, some kB a file | 0 |
| Alerts | 0.1 for the metric rule; log rules by frequency, 0.5 to 1.5 each | 3 |
| **together** | | **about {together}** |
| PostgreSQL, Burstable B1ms and 32 GB (`createWarehouse`) | fixed, while it is not stopped | 17 |

## Data Factory's activity runs

Each activity that runs costs the same, a Wait as much as a Copy. Data Factory starts a batch and waits once for all batches of a
night; the function app's own queues do the rest. Counted in `adf/`, a file a batch, whatever the number of files:

| | route `function` | route `adf` |
| --- | --- | --- |
| a batch | {function_batch} activities, {function_copies} copy | {adf_batch} activities, {adf_copies} copies |
| a night with one feed, its status checks included | {function_one} | {adf_one} |
| an hour in which no feed is due | {empty} | {empty} |
| a run of dbt of 15 minutes, checked each minute | {dbt} | {dbt} |

The first status checks of a night follow each other within seconds. Each later wait is as long as the time waited before it, at
most `pollSeconds` (a global parameter in `adf/factory/sealift.json`). A check is one call for all feeds, so its share of a large
night is small.

## A night by its number of feeds

A forecast, not a measurement: 5 seconds for each activity, a copy included; dbt left out. `./sealift bench night` takes other
overheads. `batchCount` 20 is what `adf/` says; 50 is the most that Data Factory allows (see [scaling](scaling.md)).

| feeds | route | activities a batch | copies a batch | dollars a night | minutes, `batchCount` 20 | minutes, `batchCount` 50 |
| --- | --- | --- | --- | --- | --- | --- |
"""

CLOSING = """
## What an opt-in adds, a month

| opt-in | adds |
| --- | --- |
| `staticEgressIp` | NAT gateway and address: 36.5, and 0.045 per GB |
| `network=private` | five private endpoints and three DNS zones: 38; the NAT gateway is included, see above |
| `network=perimeter` | nothing |
| `immutableDays` | nothing but the storage that cannot be deleted before its time |
| `customerManagedKey` | < 0.1; with `vaultSku=premium` 1 per HSM key |
| `storageRedundancy=Standard_ZRS` | a quarter more for stored data |
| `entraClientId` | nothing |
| Defender for Storage (not in the template) | about 10 per account |

## What grows with use

| grows with | what | roughly |
| --- | --- | --- |
| batches | activities and copies of Data Factory | route `function` {function_dollars} a batch, route `adf` {adf_dollars} |
| files | executions of the function app; Data Factory sends all files of a batch with two copies | < 0.001 a file |
| bytes | sealing: about a GB-second per 20 MB, beyond the free grant 0.000026 each | < 0.01 a GB |
| bytes | copies: 2 DIU move some GB a minute | < 0.05 a GB |
| partners | nothing but their files | |
| days kept | sealed files: 0.02 a GB and month, 0.01 after 14 days (cool tier) | `sealedDays` |

The `function` route needs one copy, the extract, and is the cheaper one.

The budget (`budgetAmount`) only reports; it stops nothing. `logDailyCapGb` does stop: when it is reached, the alerts that read
logs see nothing until the next day, so its default is twenty times what a small stage writes.
"""


def render() -> str:
    """Return the page as adf/ is now."""
    idle, quick = forecast(0, "adf").activities, Overheads(copy_seconds=5)
    one, ten = ({route: forecast(feeds, route, quick) for route in ("function", "adf")} for feeds in (1, 10))
    many = {route: forecast(1000, route, quick) for route in ("function", "adf")}
    dbt = forecast(1, "adf", quick, dbt_polls=DBT_POLLS).activities - one["adf"].activities
    a_day = one["adf"].activities + dbt + (HOURS - 1) * idle
    activities, copying = a_day * ACTIVITY_DOLLARS * DAYS, 3 * 2 * 0.25 / 60 * DAYS
    batch = {route: _a_batch(ten[route], many[route]) for route in many}
    facts = {
        "activities": f"{activities:.0f}",
        "copies": one["adf"].copies,
        "copying": f"{copying:.1f}",
        "together": f"{round(5.1 + activities + copying + 0.4 + 0.6 + 3)}",
        "empty": idle,
        "dbt": dbt,
        **{f"{route}_batch": batch[route] for route in batch},
        **{f"{route}_copies": one[route].copies for route in batch},
        **{f"{route}_one": one[route].activities for route in batch},
        **{f"{route}_dollars": f"{many[route].dollars / 1000:.3f}" for route in batch},
    }
    rows = [_row(feeds, route) for route in ("function", "adf") for feeds in SIZES]
    return OPENING.format(**facts) + "".join(rows) + CLOSING.format(**facts)


def _a_batch(few: Forecast, many: Forecast) -> int:
    """Return how many activities one batch more takes."""
    return round((many.activities - few.activities) / (many.feeds - few.feeds))


def _row(feeds: int, route: str) -> str:
    wide = forecast(feeds, route, Overheads(copy_seconds=5, slots=MOST_SLOTS))
    found = forecast(feeds, route, Overheads(copy_seconds=5))
    shares = f"{found.activities / feeds:.1f} | {found.copies / feeds:.0f} | {found.dollars:.2f}"
    return f"| {feeds:,} | `{route}` | {shares} | {found.seconds / 60:.0f} | {wide.seconds / 60:.0f} |\n"

"""`./sealift feeds`: how every feed stands and when it runs next, as a grid on a terminal, else as a list.

`feeds explain` answers why one is due or not on a day.

`feeds --backfill FROM TO` lists the batches of those days that were never planned and, after a yes, plans them; nothing older
than a feed's `since` is ever sent without it. The app is named as for `./sealift batch`.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cli import console
from cli.batch import Api, add_connection, connect
from cli.console import CommandFailed
from cli.feeds_grid import show_grid

MOST_BACKFILL_DAYS = 400
DAYS_AHEAD = 3


class BackfillRefused(CommandFailed):
    """What was asked to be sent again from the past cannot be."""


def main(argv: list[str]) -> int:
    """List feeds, explain one, or plan older batches; exit 1 when a feed is late, missing, failed or rejected."""
    if argv[:1] == ["explain"]:
        return _explain(argv[1:])
    parser = argparse.ArgumentParser("sealift feeds", description=__doc__)
    add_connection(parser)
    parser.add_argument("--days", type=int, default=7, metavar="N", help="how many business dates (7)")
    parser.add_argument("--ahead", type=int, metavar="N", help="and how many to come (3 in the grid, else none)")
    parser.add_argument(
        "--grid",
        action=argparse.BooleanOptionalAction,
        default=sys.stdout.isatty(),
        help="feeds by days (on a terminal)",
    )
    parser.add_argument("--partner", help="only this partner's feeds")
    parser.add_argument("--backfill", nargs=2, type=date.fromisoformat, metavar=("FROM", "TO"), help="business dates")
    parser.add_argument("--yes", action="store_true", help="with --backfill: do not ask")
    arguments = parser.parse_args(argv)
    api = connect(arguments)
    is_grid = arguments.grid and not arguments.json and not arguments.backfill
    ahead = arguments.ahead if arguments.ahead is not None else DAYS_AHEAD if is_grid else None
    answer = api.get("standings", days=arguments.days, ahead=ahead)
    if arguments.partner:
        answer = _only(answer, arguments.partner)
    if arguments.backfill:
        return _backfill(api, answer["feeds"], arguments)
    if arguments.json:
        print(json.dumps(answer, indent=2))
    elif is_grid:
        show_grid(answer, datetime.now(UTC).date())
    else:
        _show(answer)
    alarming = {"late", "missing", "failed", "rejected"}
    return 1 if any(each["state"] in alarming for each in answer["standings"]) else 0


def _only(answer: dict[str, Any], partner: str) -> dict[str, Any]:
    names = sorted({each["partner"] for each in answer["feeds"]})
    if partner not in names:
        raise CommandFailed(f"there is no partner {partner!r}", f"the partners are: {', '.join(names)}")
    return {key: [each for each in found if each["partner"] == partner] for key, found in answer.items()}


def _show(answer: dict[str, Any]) -> None:
    for feed in answer["feeds"]:
        zone = ZoneInfo(feed["timeZone"])
        when = _both(feed["nextRun"], zone) if feed["nextRun"] else "never"
        paused = f", paused {feed['paused']}" if feed["paused"] else ""
        console.say(f"{feed['partner']} {feed['feed']}: covers {feed['covers']}, next run {when}{paused}")
        mine = [
            each for each in answer["standings"] if (each["partner"], each["feed"]) == (feed["partner"], feed["feed"])
        ]
        for each in mine:
            words = each["reason"] or each["batch"] or ""
            due = _both(each["dueBy"], zone)
            console.say(f"  {each['businessDate']}  {each['state']:<14}  due {due}  {words}".rstrip())
        if not mine:
            console.say("  no deadline is stated: expected: {by: ...}")


def _explain(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("sealift feeds explain", description="why is a feed due or not on a day")
    add_connection(parser)
    parser.add_argument("partner")
    parser.add_argument("feed")
    parser.add_argument("day", nargs="?", type=date.fromisoformat, metavar="DATE", help="a day at the partner; today")
    arguments = parser.parse_args(argv)
    answer = connect(arguments).get(f"feeds/{arguments.partner}/{arguments.feed}", day=arguments.day)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return 0
    zone = ZoneInfo(answer["timeZone"])
    console.say(f"{answer['partner']} {answer['feed']} on {answer['day']}: covers {answer['covers']}")
    if answer["whyNone"]:
        console.say(f"  not due: {answer['whyNone']}")
    for run in answer["runs"]:
        console.say(f"  runs at {_both(run['at'], zone)} as {run['batch']}")
        if run["covers"]:
            console.say(f"    covers    {run['covers']['first']} to {run['covers']['last']}")
        for label, text in (("not due", run["whyNot"]), ("waits", run["waitsFor"]), ("state", run["state"])):
            if text:
                console.say(f"    {label:<8}  {text}")
        if run["dueBy"]:
            console.say(f"    deadline  {_both(run['dueBy'], zone)}")
    console.say(f"  next run: {_both(answer['nextRun'], zone) if answer['nextRun'] else 'never'}")
    return 0


def _backfill(api: Api, feeds: list[dict[str, Any]], arguments: argparse.Namespace) -> int:
    """List what would be planned, ask, and plan it; Data Factory delivers each by deliver_batch."""
    first, last = arguments.backfill
    if not 0 <= (last - first).days <= MOST_BACKFILL_DAYS:
        raise BackfillRefused("TO must not be before FROM, nor more than 400 days after it", "write two business dates")
    runs = list(_unplanned(api, feeds, first, last))
    for feed, run in runs:
        console.say(f"  {run['batch']}: {run['covers']['first']} to {run['covers']['last']} to {feed['partner']}")
    if not runs:
        console.say("nothing to send: every batch of these days has been planned")
        return 0
    if not arguments.yes and input(f"Plan these {len(runs)} batches? [y/N] ").strip().lower() not in ("y", "yes"):
        console.say("nothing was planned")
        return 1
    for feed, run in runs:
        window = {"windowStart": run["windowStart"], "windowEnd": run["windowEnd"]}
        asked = {"partner": feed["partner"], "feed": feed["feed"], **window}
        # A reason also lets late rows and days outside the table pass: it is given only where nothing leaves without one.
        reason = {"force": f"backfill {first} to {last}, asked by {getpass.getuser()}"} if run["whyNot"] else {}
        api.post("batches", {**asked, **reason})
        parameters = " ".join(f"--param {name}={value}" for name, value in asked.items())
        console.say(f"  ./sealift run deliver_batch {parameters}")
    console.say("Planned. On Azure run deliver_batch with these parameters, in this order.")
    return 0


def _unplanned(
    api: Api, feeds: list[dict[str, Any]], first: date, last: date
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for feed in feeds:
        for ahead in range((last - first).days + 32):  # a month's run may come so long after its last day
            day = first + timedelta(days=ahead)
            for run in api.get(f"feeds/{feed['partner']}/{feed['feed']}", day=day)["runs"]:
                covers = run["covers"]
                if covers and run["state"] is None and first <= date.fromisoformat(covers["last"]) <= last:
                    yield feed, run


def _both(instant: str, zone: ZoneInfo) -> str:
    """Return an instant by the partner's clock and in UTC."""
    moment = datetime.fromisoformat(instant)
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M %Z} ({moment:%Y-%m-%d %H:%M} UTC)"

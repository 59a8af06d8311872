"""`./sealift partner preview` and `./sealift partner render`: a feed's file without a database, for people and for trials."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from cli import console
from partners import UnknownFeed, load_partner
from partners.errors import PartnerError
from partners.figures import as_decimal
from partners.loading import EXAMPLES, read_partner
from partners.model import Feed, Partner
from partners.preview import ruled, sample_file, spec
from partners.rendering import render

_MADE = datetime(2026, 11, 28, 3, 4, 5, tzinfo=UTC)


def add_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    preview = verbs.add_parser("preview", help="show a feed's file with invented rows, each record under a ruler")
    _add_feed(preview)
    preview.add_argument("--rows", type=_count, default=5, metavar="N", help="how many invented rows (5)")
    preview.add_argument("--spec", action="store_true", help="print the table of all fields instead")
    made = verbs.add_parser(
        "render", help="make a feed's files from a CSV file of rows: the bytes that would be sealed"
    )
    _add_feed(made)
    made.add_argument("--rows", type=Path, required=True, metavar="ROWS.csv", help="its first line names the columns")
    made.add_argument(
        "--business-date", type=date.fromisoformat, required=True, metavar="DATE", help="such as 2026-11-27"
    )
    made.add_argument("--made", type=_instant, required=True, metavar="INSTANT", help="such as 2026-11-28T03:00:00Z")
    made.add_argument("--sequence", type=_count, required=True, metavar="N", help="the number of the first file")
    made.add_argument("--revision", type=_count, default=1, metavar="N", help="of the batch (1)")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for the files")


def run(arguments: argparse.Namespace) -> int:
    """Run one of the two verbs; print what is wrong and return 1, or 2 for a feed that does not exist."""
    try:
        partner = _partner(arguments.name)
        if arguments.feed not in partner.feeds:
            raise UnknownFeed(
                f"{partner.name} has no feed {arguments.feed!r}", f"its feeds: {', '.join(partner.feeds)}"
            )
        feed = partner.feeds[arguments.feed]
        return _preview(partner, feed, arguments) if arguments.verb == "preview" else _render(partner, feed, arguments)
    except PartnerError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return 1


def _preview(partner: Partner, feed: Feed, arguments: argparse.Namespace) -> int:
    if arguments.spec:
        rows = [
            (each.record, str(each.number), each.field, each.start, each.end, each.length, each.source)
            for each in spec(feed.full_layout, feed.columns)
        ]
        heads = ["record", "number", "field", "from", "to", "length", "source"]
        console.table(
            [(head, "right" if head in ("number", "from", "to", "length") else "left") for head in heads], rows
        )
        return 0
    show_sample(partner, arguments.feed, arguments.rows)
    return 0


def show_sample(partner: Partner, feed_name: str, rows: int) -> None:
    """Print a feed's file of invented rows, each record under a ruler."""
    feed = partner.feeds[feed_name]
    facts = partner.facts(feed_name, _MADE.date(), 1, _MADE)
    data = sample_file(feed.full_layout, feed.columns, facts, rows)
    console.say(f"{feed.name_file(facts, 1)}: {len(data):,} bytes, {feed.full_layout.encoding}, invented rows")
    for line in ruled(feed.full_layout, feed.columns, facts, data):
        console.say(line)


def _render(partner: Partner, feed: Feed, arguments: argparse.Namespace) -> int:
    facts = partner.facts(arguments.feed, arguments.business_date, arguments.revision, arguments.made)
    rendered = render(feed, facts, arguments.rows, arguments.sequence, arguments.out)
    for note in rendered.notes:
        print(f"note: {note}", file=sys.stderr)
    for path, figures in rendered.files:
        sums = "".join(f", {name} {as_decimal(value)}" for name, value in figures.sums.items())
        console.say(f"{path}: {figures.rows} rows, {figures.lines} lines{sums}, read back")
    if not rendered.files:
        console.say("no rows: this feed sends no file then")
    return 0


def _partner(name: str) -> Partner:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return read_partner(Path(name))
    example = EXAMPLES / f"{name}.yaml"
    return read_partner(example) if example.is_file() else load_partner(name)


def _add_feed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="the partner: NAME of partners/NAME.yaml, or a path to FILE.yaml")
    parser.add_argument("feed", help="the feed of the partner")


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError("a number from 0")
    return count

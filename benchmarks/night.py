"""`./sealift bench night`: what a night takes, by its number of feeds: a forecast from adf/, with Azure's overheads as options.

Nothing is executed or measured: activities and copies are counted in adf/, time follows from the overheads that are given.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.night_model import ROUTES, Overheads, forecast

SIZES = (10, 100, 1000)


def main(argv: list[str]) -> int:
    """Print one row for each route and size; exit 0."""
    default = Overheads()
    parser = argparse.ArgumentParser("sealift bench night", description=__doc__)
    parser.add_argument("--feeds", type=int, action="append", metavar="N", help="a number of feeds (10, 100, 1000)")
    parser.add_argument("--slots", type=int, metavar="N", help="batchCount of each ForEach, at most 50 (as adf/ says)")
    for name, words in (
        ("activity", "each activity, but for what it waits for"),
        ("copy", "each copy"),
        ("queue", "a message's way through a queue"),
        ("seal", "shaping and sealing a batch"),
        ("deliver", "delivering a batch by the function"),
    ):
        value = getattr(default, f"{name}_seconds")
        parser.add_argument(f"--{name}-seconds", type=float, default=value, metavar="S", help=f"{words} ({value:g})")
    arguments = parser.parse_args(argv)
    overheads = Overheads(
        activity_seconds=arguments.activity_seconds,
        copy_seconds=arguments.copy_seconds,
        queue_seconds=arguments.queue_seconds,
        seal_seconds=arguments.seal_seconds,
        deliver_seconds=arguments.deliver_seconds,
        slots=arguments.slots,
    )
    print("a forecast from adf/, dbt left out; dollars are list prices")
    print(
        f"{'route':<10}{'feeds':>7}{'activities':>12}{'a batch':>9}{'copies':>8}{'dollars':>9}{'a batch':>9}{'minutes':>9}"
    )
    for route in ROUTES:
        for feeds in arguments.feeds or SIZES:
            found = forecast(feeds, route, overheads)
            print(
                f"{route:<10}{feeds:>7,}{found.activities:>12,}{found.activities / feeds:>9.1f}{found.copies:>8,}"
                f"{found.dollars:>9.2f}{found.dollars / feeds:>9.4f}{found.seconds / 60:>9.1f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

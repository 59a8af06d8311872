"""`./sealift docs`: write every generated page. `docs serve` shows the site of docs/ in a browser, `docs build` writes it."""

from __future__ import annotations

import argparse
import sys

from docs.generate import adf_subset, api, commands, cost, decisions, local_vs_azure, openapi, picture, roles
from docs.generate.building import make_site

PAGES = {
    each.PAGE: each.render
    for each in (adf_subset, api, commands, cost, decisions, local_vs_azure, openapi, picture, roles)
}


def main(argv: list[str]) -> int:
    """Write or check the pages, or make the site; exit 1 when a checked page is out of date or a link leads nowhere."""
    parser = argparse.ArgumentParser("sealift docs", description=__doc__)
    parser.add_argument(
        "verb", nargs="?", choices=("build", "serve"), help="the site: into out/site, or shown on a free port"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is out of date")
    arguments = parser.parse_args(argv)
    if arguments.verb:
        return make_site(arguments.verb)
    check = arguments.check
    stale = [page for page, render in PAGES.items() if not page.exists() or page.read_text("utf-8") != render()]
    for page in stale:
        if not check:
            page.write_text(PAGES[page](), "utf-8")
        print(f"docs/{page.name} {'is out of date' if check else 'written'}", file=sys.stderr if check else sys.stdout)
    if check and stale:
        print("hint: run ./sealift docs and commit the result", file=sys.stderr)
        return 1
    print(f"{len(PAGES) - len(stale)} of {len(PAGES)} pages were up to date")
    return 0

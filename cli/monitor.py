"""`./sealift monitor`: open the operators' page of the services that `./sealift demo --keep` left up, or with --url of any app.

The app's setting MONITOR must be `on`. The key comes from --key or SEALIFT_KEY. Where the app was deployed with `entraClientId`,
--sign-in opens the platform's sign-in, which leads to the page; no key is needed.
"""

from __future__ import annotations

import argparse
import os
import webbrowser
from urllib.parse import quote, urlsplit

from cli import console
from cli.console import CommandFailed
from local.kept import kept_services

PLACE = "/api/monitor"


class NoMonitor(CommandFailed):
    """No app is named, or its address is none."""


def main(argv: list[str]) -> int:
    """Print the page's address without its key, and open it in the browser."""
    parser = argparse.ArgumentParser("sealift monitor", description=__doc__)
    parser.add_argument("--url", help="the function app, such as https://func-sealift.azurewebsites.net")
    parser.add_argument("--key", help="the key of the function `monitor`; better in SEALIFT_KEY")
    parser.add_argument("--sign-in", action="store_true", help="of an app with entraClientId: sign in instead of a key")
    parser.add_argument("--no-open", action="store_true", help="only print the address, with its key where it has one")
    arguments = parser.parse_args(argv)
    address, key = _address(arguments)
    full = f"{address}?code={quote(key, safe='')}" if key else address
    if arguments.sign_in:
        full = f"{address.removesuffix(PLACE)}/.auth/login/aad?post_login_redirect_uri={quote(PLACE, safe='')}"
    if arguments.no_open:
        console.say(full)
        return 0
    console.say(f"The operators' page: {address}")
    if not webbrowser.open(full):
        console.say("No browser could be opened; ./sealift monitor --no-open prints the whole address.")
    return 0


def page_address(url: str) -> str:
    """Return the address of the overview. Raises NoMonitor."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise NoMonitor("--url is not an app's address", "write it as https://func-sealift.azurewebsites.net")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise NoMonitor("--url would send the key unencrypted", "write https://")
    return f"{url.rstrip('/')}{PLACE}"


def _address(arguments: argparse.Namespace) -> tuple[str, str]:
    url = arguments.url or os.environ.get("SEALIFT_URL")
    if url:
        return page_address(url), arguments.key or os.environ.get("SEALIFT_KEY") or ""
    if kept := kept_services():
        return page_address(kept.function_url), kept.function_key
    raise NoMonitor(
        "a function app is missing", "give --url or SEALIFT_URL, or leave services up: ./sealift demo --keep"
    )

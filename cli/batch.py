"""`./sealift batch VERB`: what an operator does with batches, over the function app's own API.

The app is named by --url and --key, by SEALIFT_URL and SEALIFT_KEY, or it is the one that `./sealift demo --keep` left up.
Where the app has an Entra registration (`entraClientId`), --entra or SEALIFT_ENTRA_CLIENT_ID names it: a token goes with the key.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import requests

from cli import console
from cli.console import CommandFailed

TIMEOUT_SECONDS = 240  # the platform itself gives up after 230
TOKEN_HINT = "where entraClientId is set, also its value: --entra or SEALIFT_ENTRA_CLIENT_ID"  # noqa: S105 - a text


class ApiRefused(CommandFailed):
    """The function app refused, or did not answer; `answered` is the HTTP status it gave."""

    def __init__(self, message: str, hint: str, answered: int = 503) -> None:
        super().__init__(message, hint)
        self.answered = answered


class Api:
    """The function app's endpoints."""

    def __init__(self, url: str, key: str, ca_bundle: str | None = None, token: str = "") -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["x-functions-key"] = key
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        if ca_bundle:
            self._session.verify = ca_bundle

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Raises ApiRefused."""
        return self._call("GET", path, params={name: str(value) for name, value in query.items() if value is not None})

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Raises ApiRefused."""
        return self._call("POST", path, json=body)

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._session.request(method, f"{self._url}/api/{path}", timeout=TIMEOUT_SECONDS, **options)
        except requests.RequestException as error:
            raise ApiRefused(
                f"{self._url} does not answer: {error}", "is the app up, and is the address right?"
            ) from None
        if answer.status_code == 401:
            raise ApiRefused(
                "the app does not take this key", f"give a function key: --key or SEALIFT_KEY; {TOKEN_HINT}", 401
            )
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.status_code == 403 and not isinstance(body, dict):
            raise ApiRefused("the app does not take your token", "the caller must be one of operatorPrincipalIds", 403)
        if not isinstance(body, dict):
            raise ApiRefused(
                f"{self._url}/api/{path} answered {answer.status_code} without JSON",
                "check that the address is that of a Sealift app",
            )
        if answer.status_code >= 400:
            said = (body.get("error", answer.reason), body.get("hint", "see the app's log"))
            raise ApiRefused(*said, answer.status_code)
        return body


def main(argv: list[str]) -> int:
    """Run one verb; exit 1 when a batch does not verify, or when plaintext is overdue."""
    parser = argparse.ArgumentParser("sealift batch", description=__doc__)
    add_connection(parser)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Callable[[Api, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the app's own answer")
        added.set_defaults(run=run)
        return added

    lists = verb("list", _list, "the newest batches and their states")
    lists.add_argument("--partner", help="only this partner's batches")
    lists.add_argument("--feed", help="only batches of feeds of this name")
    lists.add_argument("--state", help="only batches in this state, such as failed")
    lists.add_argument("--date", help="only batches of this business date")
    lists.add_argument("--limit", type=int, default=20, help="how many (20)")
    for name, run, text in (
        ("show", _show, "one batch: state, failure, and every step from the ledger"),
        ("resend", _resend, "deliver the same bytes again, as a new delivery; nothing is extracted or sealed"),
        ("replay", _replay, "let a batch that failed or hangs go on; nothing is extracted"),
        ("verify", _verify, "check signature, hashes, records and ledger; reads every sealed byte"),
    ):
        verb(name, run, text).add_argument("id", metavar="ID", help="such as northwind.accruals.2026-11-21.1")
    verbs.choices["resend"].add_argument("--reason", required=True, metavar="TEXT", help="kept in record and ledger")
    again = "the step to go on from"
    verbs.choices["replay"].add_argument("--from", dest="start", required=True, choices=("seal", "deliver"), help=again)
    purge = verb("purge", _purge, "delete plaintext that delivered batches left; name other plaintext that is too old")
    purge.add_argument("--hours", type=int, default=72, help="the age from which undelivered plaintext is named (72)")
    reindex = verb(
        "reindex", _reindex, "make the pages' index of the last 100 days anew, from records; safe at any time"
    )
    reindex.add_argument("--partner", help="only this partner's feeds")
    reindex.add_argument("--feed", help="only feeds of this name")
    arguments = parser.parse_args(argv)
    code: int = arguments.run(connect(arguments), arguments)
    return code


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the function app."""
    parser.add_argument("--url", help="the function app, such as https://func-sealift.azurewebsites.net")
    parser.add_argument("--key", help="a function key; better in SEALIFT_KEY, where no process list shows it")
    parser.add_argument("--entra", metavar="CLIENT_ID", help="the app's registration in Entra, where it has one")
    parser.add_argument("--json", action="store_true", help="print the app's own answers; also after a verb")


def connect(arguments: argparse.Namespace) -> Api:
    """Return the function app that the options, the environment or kept services name. Raises ApiRefused."""
    url = arguments.url or os.environ.get("SEALIFT_URL")
    key = arguments.key or os.environ.get("SEALIFT_KEY")
    if url and key:
        client_id = arguments.entra or os.environ.get("SEALIFT_ENTRA_CLIENT_ID")
        return Api(url, key, token=_token(client_id) if client_id else "")
    from local.kept import kept_services

    if not url and (kept := kept_services()):
        return Api(kept.function_url, kept.function_key, kept.environment.get("REQUESTS_CA_BUNDLE"))
    missing = "a key" if url else "a function app"
    raise ApiRefused(
        f"{missing} is missing",
        "give --url and --key (or SEALIFT_URL and SEALIFT_KEY), or leave services up: ./sealift demo --keep",
    )


def _token(client_id: str) -> str:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import DefaultAzureCredential

    try:
        return DefaultAzureCredential().get_token(f"api://{client_id}/.default").token
    except ClientAuthenticationError as error:
        hint = "sign in: az login; the registration must let the Azure CLI ask for its tokens (docs/runbook.md)"
        raise ApiRefused(f"no token for api://{client_id}: {error.message}", hint, 401) from None


def _list(api: Api, arguments: argparse.Namespace) -> int:
    about = {"state": arguments.state, "date": arguments.date, "limit": arguments.limit}
    answer = api.get("batches", partner=arguments.partner, feed=arguments.feed, **about)
    if arguments.json:
        return _print_json(answer)
    if not answer["batches"]:
        asked = [
            f"{name} {value!r}" for name in ("partner", "feed", "state", "date") if (value := getattr(arguments, name))
        ]
        console.say(f"no batches{' of ' if asked else ''}{' and '.join(asked)} yet")
    width = max((len(each["batch"]) for each in answer["batches"]), default=0)
    for each in answer["batches"]:
        line = f"{each['batch']:<{width}}  {each['state']:<12}  number {each['sequence']}, delivery {each['delivery']}"
        if each["rows"] is not None:
            line += f", {each['rows']:,} rows, {console.size(each['bytes'])}"
        console.say(f"{line}  {each['cause'] or ''}".rstrip())
    return 0


def _show(api: Api, arguments: argparse.Namespace) -> int:
    status = api.get(_path(arguments.id))
    entries = api.get(f"{_path(arguments.id)}/ledger")["entries"]
    if arguments.json:
        return _print_json({**status, "ledger": entries})
    console.say(f"{status['batch']}: {status['state']}, number {status['sequence']}")
    if at_work := status["worked_by"]:
        console.say(f"  run {at_work['run_id']} works on it since {at_work['since']}")
    if failure := status["failure"]:
        console.say(f"  failed at {failure['step']}: {failure['cause']}")
        console.say(f"  hint: {failure['hint']}")
    for entry in entries:
        run = f" in run {entry['run_id']}" if entry["run_id"] else ""
        line = f"  {entry['number']:>4}  {entry['at'][:19]}  {entry['step']:<12}  {entry['who']}{run}"
        console.say(line)
        console.say(f"        {_details(entry)}")
    return 0


def _resend(api: Api, arguments: argparse.Namespace) -> int:
    answer = api.post(f"{_path(arguments.id)}/resend", {"who": _who(), "reason": arguments.reason})
    if arguments.json:
        return _print_json(answer)
    console.say(f"{answer['batch']} is {answer['state']}: delivery {answer['delivery']} is due.")
    return _say_how_to_go_on(api, arguments.id)


def _replay(api: Api, arguments: argparse.Namespace) -> int:
    answer = api.post(f"{_path(arguments.id)}/replay", {"who": _who(), "from": arguments.start})
    if arguments.json:
        return _print_json(answer)
    console.say(f"{answer['batch']} is {answer['state']}.")
    return _say_how_to_go_on(api, arguments.id)


def _verify(api: Api, arguments: argparse.Namespace) -> int:
    answer = api.get(f"{_path(arguments.id)}/verify")
    files = [api.get(f"{_path(arguments.id)}/verify", file=name) for name in answer["files"]]
    checks = [*answer["checks"], *(check for each in files for check in each["checks"])]
    whole = answer["ok"] and all(each["ok"] for each in files)
    if arguments.json:
        _print_json({"batch": answer["batch"], "ok": whole, "checks": checks})
    else:
        for check in checks:
            console.say(f"  {'+' if check['ok'] else 'x'} {check['what']:<24} {check['found']}")
        console.say(f"{answer['batch']} {'is whole' if whole else 'IS NOT WHOLE'}")
    return 0 if whole else 1


def _purge(api: Api, arguments: argparse.Namespace) -> int:
    answer = api.post("purge", {"who": _who(), "olderThanHours": arguments.hours})
    if arguments.json:
        _print_json(answer)
    else:
        console.say(f"purged now: {', '.join(answer['purged']) or 'nothing was left'}")
        for name in answer["overdue"]:
            console.say(f"overdue, not delivered, kept: raw/{name}")
    return 1 if answer["overdue"] else 0


def _reindex(api: Api, arguments: argparse.Namespace) -> int:
    """Ask for one feed at a time: each takes seconds, and no call of the app may take minutes."""
    feeds = [
        (each["partner"], each["feed"])
        for each in api.get("standings", days=1)["feeds"]
        if arguments.partner in (None, each["partner"]) and arguments.feed in (None, each["feed"])
    ]
    if not feeds:
        raise CommandFailed("no feed has that name", "./sealift feeds lists partners and their feeds")
    answers = [api.post(f"feeds/{partner}/{feed}/index", {}) for partner, feed in feeds]
    if arguments.json:
        return _print_json({"feeds": answers})
    for each in answers:
        console.say(f"{each['partner']} {each['feed']}: {each['batches']} batches indexed")
    return 0


def _say_how_to_go_on(api: Api, batch: str) -> int:
    status = api.get(_path(batch))
    if status["state"] == "delivering":
        console.say(f"The app is delivering it; watch: ./sealift batch show {batch}")
        return 0
    window = status["window"]
    partner, feed, _, revision = batch.split(".")
    values = {"partner": partner, "feed": feed, "windowStart": window["start"], "windowEnd": window["end"]}
    values |= {"revision": revision}
    parameters = " ".join(f"--param {name}={value}" for name, value in values.items())
    console.say("Next, on Azure: run pipeline deliver_batch with these parameters; here:")
    console.say(f"  ./sealift run deliver_batch {parameters}")
    return 0


def _details(entry: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {str(value)[:16] if name.endswith('sha256') else value}" for name, value in entry["details"].items()
    )


def _path(batch: str) -> str:
    return f"batches/{quote(batch, safe='')}"


def _who() -> str:
    return f"{getpass.getuser()} by ./sealift batch"


def _print_json(answer: Mapping[str, Any]) -> int:
    print(json.dumps(answer, indent=2))
    return 0

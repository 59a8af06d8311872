"""Batches in every state, as blobs, for the pages that show them; nothing is shaped, sealed or sent."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from azure.storage.blob import BlobServiceClient

import monitor
from batches import BatchId, Context, Record, Stores, ledger
from batches.answers import Answer
from batches.certificates import InUse, remember_certificates
from batches.joined import complete
from batches.ledger import Note
from batches.receipts import Receipt, ReceivedFile
from batches.recent import remember
from batches.record import Failure, StagedFile
from local.azurite import Azurite
from monitor.reading import forget
from partners import load_partners

NOW = datetime(2026, 12, 27, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Pages:
    """The pages on a storage of their own."""

    context: Context

    def get(self, path: str = "", *, key: str | None = None, etag: str = "", **query: str) -> monitor.Page:
        forget()
        return monitor.answer(self.context, path=path, query=query, key=key, etag=etag)

    def json(self, path: str = "", **query: str) -> dict[str, Any]:
        page = self.get(path, format="json", **query)
        assert page.status == 200, page.body
        found: dict[str, Any] = json.loads(page.body)
        return found

    def batch(self, day: str, partner: str = "northwind", feed: str = "accruals", **changes: Any) -> Record:
        """Write a batch that was planned at two in the night after its business date, and nothing more."""
        batch = BatchId.of(partner, feed, day, changes.pop("revision", 1))
        planned = datetime.combine(batch.business_date + timedelta(days=1), time(2), tzinfo=UTC)
        record = Record(
            batch=batch,
            sequence=changes.pop("sequence", 7),
            window_start=planned - timedelta(hours=26),
            window_end=planned - timedelta(hours=2),
            planned_at=planned,
            files=[f"NW_{day}.txt"],
            query="select 1",
            format="native",
            route="adf",
            folder="/inbox",
            **changes,
        )
        self.write(f"{batch.folder}/batch.json", record.model_dump_json().encode())
        ledger.note(self.at(planned), batch, Note("planned", details={"sequence": record.sequence}), once=True)
        return record

    def staged(self, day: str, **changes: Any) -> Record:
        file = StagedFile(name=f"NW_{day}.txt", etag="1", size_bytes=2_400_000, rows=31_000)
        return self.batch(day, staged=[file], **changes)

    def failed(self, day: str, cause: str, **changes: Any) -> Record:
        at = datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(2, 5), tzinfo=UTC)
        failure = Failure(step="seal", cause=cause, hint="fix it, then replay the batch", at=at, run_id="run-1")
        return self.staged(day, failure=failure, **changes)

    def delivered(self, day: str, at: str = "02:09", answer: str = "", reason: str = "", **changes: Any) -> Record:
        """`at` is a time of the day after the business date."""
        record = self.staged(day, **changes)
        moment = datetime.combine(record.batch.business_date + timedelta(days=1), time.fromisoformat(at), tzinfo=UTC)
        files = [ReceivedFile(name=record.files[0], bytes=2_500_000)]
        receipt = Receipt(
            batch=record.batch, sequence=7, delivery=1, delivered_at=moment, route="adf", run_id="run-1", files=files
        )
        self.write(f"{record.batch.folder}/receipt.json", receipt.model_dump_json().encode())
        if answer:
            said = Answer.model_validate(
                {"batch": record.batch, "delivery": 1, "says": answer, "reason": reason, "seen_at": moment}
                | {"newest_seconds": 1.0, "files": []}
            )
            self.write(f"{record.batch.folder}/answer.json", said.model_dump_json().encode())
        ledger.note(self.at(moment), record.batch, Note("delivered", details={"receipt_sha256": receipt.digest}))
        return record

    def unreadable(self, day: str) -> BatchId:
        record = self.batch(day)
        self.write(f"{record.batch.folder}/batch.json", b'{"version": 1, "batch": ')
        remember(self.context, record.batch)
        return record.batch

    def every_state(self) -> None:
        """Write the last days of both feeds, so that each state is there."""
        for partner in load_partners():
            expires = NOW + timedelta(days=20 if partner.name == "northwind" else 400, hours=1)
            used = InUse(purpose="partner", secret=partner.certificate, expires=expires)
            remember_certificates(self.context, partner.name, (used,))
        for number in range(21, 31):
            self.delivered(f"2026-11-{number}", sequence=number)
        for ahead in range(35):
            day = date(2026, 11, 21) + timedelta(days=ahead)
            self.delivered(str(day), partner="cedarway", feed="purchases", sequence=ahead + 1)
            if day.day not in (4, 11):
                self.delivered(str(day), partner="tidewater", feed="points", sequence=ahead + 1)
        for number in range(8, 23):
            self.delivered(f"2026-12-{number:02d}", sequence=number + 9)
        self.delivered("2026-12-01", at="07:30")
        self.delivered("2026-12-02", answer="acknowledged")
        self.delivered("2026-12-03", answer="rejected", reason="line 4: the total is not ours")
        self.batch("2026-12-04", emptied_at=datetime(2026, 12, 5, 2, 4, tzinfo=UTC))
        self.failed("2026-12-05", "the vault did not answer")
        self.unreadable("2026-12-06")
        self.batch("2026-12-07", superseded_by=BatchId("northwind.accruals.2026-12-08.1"))
        self.staged("2026-12-26", partner="cedarway", feed="purchases")
        complete(self.context, [(each.name, feed) for each in load_partners() for feed in each.feeds])

    def at(self, moment: datetime) -> Context:
        return replace(self.context, clock=lambda: moment)

    def write(self, name: str, content: bytes) -> None:
        self.context.stores.batches.upload_blob(name, content, overwrite=True)


@contextmanager
def pages_on(azurite: Azurite, mark: str) -> Iterator[Pages]:
    """Return pages over containers of their own."""
    accounts = {
        name: BlobServiceClient.from_connection_string(azurite.connection_string(name)) for name in azurite.accounts
    }
    stores = Stores(
        raw=accounts["sealiftraw"].create_container(f"raw-{mark}"),
        encrypted=accounts["sealiftencrypted"].create_container(f"encrypted-{mark}"),
        batches=accounts["sealiftencrypted"].create_container(f"batches-{mark}"),
        seal_queue=None,  # type: ignore[arg-type]  # no page has a queue
        deliver_queue=None,  # type: ignore[arg-type]
        dbt=accounts["sealifthost"].create_container(f"dbt-{mark}"),
    )
    try:
        yield Pages(Context(stores=stores, vault=None, clock=lambda: NOW))
    finally:
        for account in accounts.values():
            account.close()


class Reader(HTMLParser):
    """A page as a person meets it: its text, its elements and their attributes."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._inside = ""
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@contextmanager
def served(pages: Pages) -> Iterator[str]:
    """Serve the pages to a browser, with all their headers; yield the address before `/api/monitor`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urlsplit(self.path)
            path = unquote(place.path.removeprefix("/api/monitor").strip("/"))
            query = dict(parse_qsl(place.query))
            page = pages.get(path, key=query.get("code"), **{name: query[name] for name in query if name != "code"})
            body = page.body.encode()
            self.send_response(page.status)
            for name, value in {**page.headers, "Content-Type": f"{page.mimetype}; charset=utf-8"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

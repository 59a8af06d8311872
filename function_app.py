"""Azure's entry: HTTP endpoints and queue workers. Reads a request, calls `batches`, answers a JSON object; keeps nothing.

Every route needs the function key unless it says otherwise. Errors are `{"error", "hint", "batch"}` with the right status.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import azure.functions as func
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

import batches
from batches import BatchId
from encryption.vault import Vault
from fault import Fault
from partners import load_partners

if TYPE_CHECKING:
    import monitor as pages

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


def _is_sign_in_in_front() -> bool:
    """Whether who reaches the pages has signed in: the template asked for it, and the platform states that it does it.

    Either alone changes nothing: then the pages need their key, so a mistake closes them and never opens them.
    """
    asked = os.environ.get("MONITOR_SIGN_IN") == "platform"
    return asked and os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true"


PAGES_LEVEL = func.AuthLevel.ANONYMOUS if _is_sign_in_in_front() else func.AuthLevel.FUNCTION
Answer = tuple[int, dict[str, Any]]
BODY_LIMIT_BYTES = 6 * 1024 * 1024  # room for the listing of a partner's folder, which Data Factory cuts at 4 MB
LIST_LIMIT = 500
FIRST_YEAR, LAST_YEAR = 1900, 2999
NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")


def _in_bounds(moment: datetime) -> datetime:
    """Refuse years in which zones and calendars have no meaning, and no arithmetic has room."""
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"the year must be from {FIRST_YEAR} to {LAST_YEAR}")
    return moment


# Every field has bounds: what is stored for good, shown on a terminal or put into a name must be fit for it.
Line = StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")
FileName = Annotated[str, StringConstraints(min_length=1, max_length=250), Line]
Whole = Annotated[int, Field(ge=0, le=2**53 - 1)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_bounds)]
LARGEST_BATCH = 10_000
LARGEST_NIGHT = 10_000


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=True)

    run_id: Annotated[str, StringConstraints(max_length=100), Line] | None = Field(default=None, alias="runId")


class PlanRequest(_Request):
    """Which feed, for which window; another revision than 1 is a correction.

    `force` is the reason to plan what is refused otherwise: a window that has not ended, that is longer than the feed's
    cadence, or that is from before the feed began.
    """

    partner: Annotated[str, StringConstraints(max_length=30), Line]
    feed: Annotated[str, StringConstraints(max_length=30), Line]
    window_start: Instant = Field(alias="windowStart")
    window_end: Instant = Field(alias="windowEnd")
    revision: int = Field(default=1, ge=1, le=9999)
    force: Annotated[str, StringConstraints(max_length=500), Line] | None = None


class SealRequest(_Request):
    """What the run has extracted: the name of its rows, and the number of rows by file name where it is known.

    `deliver`: where the function takes the batch to its partner, it does so as soon as the batch is sealed.
    """

    raw: Annotated[str, StringConstraints(max_length=120, pattern=r"^([A-Za-z0-9-]{1,100}\.)?rows\.jsonl$")] | None = (
        None
    )
    rows: Annotated[dict[FileName, Whole], Field(max_length=LARGEST_BATCH)] = {}
    deliver: bool = False


class DeliverRequest(_Request):
    """Nothing but who asks."""


class IndexRequest(_Request):
    """Nothing but who asks."""


class FoundItem(BaseModel):
    """An item of the partner's folder, as Data Factory's GetMetadata lists it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, StringConstraints(max_length=1000)]
    type: Annotated[str, StringConstraints(max_length=20)] = "File"


Found = Annotated[list[FoundItem], Field(max_length=200_000)]
ListName = Annotated[str, StringConstraints(max_length=40), Line]


class SendingRequest(_Request):
    """A run is about to send the batch: what is in the partner's folder; None where there is no such folder."""

    found: Found | None = None


class LookedRequest(_Request):
    """A file of a Copy that was cut off: its name and its size at the partner; None where it is gone."""

    file: FileName
    bytes: Whole | None = None


class SentRequest(_Request):
    """A Copy that was completed: its list, how many files and bytes it wrote, and what is in the partner's folder after it."""

    list: ListName
    files: Whole
    bytes: Whole | None = None
    found: Found | None = None


class ConfirmRequest(_Request):
    """The last Copy of a batch as in `sent`; without a list nothing but who asks."""

    list: ListName | None = None
    files: Whole = 0
    bytes: Whole | None = None
    found: Found | None = None


class WaitRequest(_Request):
    """The batches that a run started, since when, and the longest pause between two looks in seconds."""

    batches: Annotated[list[Annotated[str, StringConstraints(max_length=90)]], Field(max_length=LARGEST_NIGHT)]
    since: Instant
    longest: Annotated[int, Field(ge=1, le=3600)] = 60


class FailedRequest(_Request):
    """Why a run gave up."""

    cause: str = Field(max_length=100_000)
    step: Annotated[str, StringConstraints(min_length=1, max_length=50), Line] = "run"


class _OperatorRequest(_Request):
    """`who` is what the caller says of himself; the ledger keeps it."""

    who: Annotated[str, StringConstraints(min_length=1, max_length=100), Line]


class ResendRequest(_OperatorRequest):
    """Why the same bytes are delivered once more."""

    reason: Annotated[str, StringConstraints(min_length=3, max_length=500), Line]


class ReplayRequest(_OperatorRequest):
    """From which step a batch that stands still goes on."""

    start: Literal["seal", "deliver"] = Field(alias="from")


class PurgeRequest(_OperatorRequest):
    """How old plaintext of an undelivered batch may be before it is reported."""

    older_than_hours: int = Field(default=72, ge=0, le=24 * 365, alias="olderThanHours")


def endpoint(
    handle: Callable[[func.HttpRequest], Answer],
) -> Callable[[func.HttpRequest, func.Context], func.HttpResponse]:
    """Turn what a handler returns or raises into a JSON answer; our own faults become a 500 without details."""

    def answer(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        batch = req.route_params.get("id")
        about = {"route": handle.__name__, "run_id": _header_run_id(req), "invocation_id": context.invocation_id}
        with batches.step("request", traceparent=_traceparent(context), **about):
            status, body = _answer(handle, req, batch)
        headers = {"Location": f"/api/batches/{body['batch']}"} if status == 202 else None
        return func.HttpResponse(json.dumps(body), status_code=status, headers=headers, mimetype="application/json")

    # Not functools.wraps: it would copy the handler's return annotation too, and Azure checks that against the binding.
    answer.__name__, answer.__doc__ = handle.__name__, handle.__doc__
    return answer


def _answer(handle: Callable[[func.HttpRequest], Answer], req: func.HttpRequest, batch: str | None) -> Answer:
    try:
        return handle(req)
    except Fault as error:
        return error.status, {"error": error.message, "hint": error.hint, "batch": batch}
    except ValidationError as error:
        places = [f"{'.'.join(str(part) for part in e['loc']) or 'body'}: {e['msg']}" for e in error.errors()]
        return 422, {"error": "; ".join(places[:5]), "hint": "correct the request's JSON body", "batch": batch}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last line of defence: no stack, row or secret leaves the app
        batches.log_failure("request.crashed", batch=batch, error=type(error).__name__)
        return 500, {"error": "the app failed", "hint": "see the app's log for request.crashed", "batch": batch}


@app.route("feeds", methods=["GET"])
@endpoint
def feeds(req: func.HttpRequest) -> Answer:
    """The feeds that are due after `windowStart` and until `windowEnd`, what each covers, and those that wait for dbt."""
    return 200, batches.feeds_due(_context(req), _instant(req, "windowStart"), _instant(req, "windowEnd"))


@app.route("batches", methods=["POST"])
@endpoint
def plan(req: func.HttpRequest) -> Answer:
    """Plan a batch, or return the plan that was made before."""
    request = PlanRequest.model_validate_json(_body(req))
    context = _context(req, request)
    window = batches.Window(request.window_start, request.window_end, force=request.force or None)
    record = batches.plan(context, request.partner, request.feed, window, request.revision)
    return 200, {**batches.describe(context, record), "state": batches.state_of(context, record)}


@app.route("batches/{id}/seal", methods=["POST"])
@endpoint
def request_sealing(req: func.HttpRequest) -> Answer:
    """Accept the raw files and queue them for sealing, and with `deliver` for what comes after it."""
    request = SealRequest.model_validate_json(_body(req))
    context = _context(req, request)
    batch, extract = _batch_id(req), {"extract": request.raw} if request.raw else {}
    record = batches.request_sealing(context, batch, request.rows, deliver=request.deliver, **extract)
    return 202, {"batch": record.batch, "state": batches.state_of(context, record)}


@app.route("batches/{id}/deliver", methods=["POST"])
@endpoint
def request_delivery(req: func.HttpRequest) -> Answer:
    """Queue the delivery of a sealed batch that takes the route `function`."""
    request = DeliverRequest.model_validate_json(_body(req))
    context = _context(req, request)
    record = batches.request_delivery(context, _batch_id(req))
    return 202, {"batch": record.batch, "state": batches.state_of(context, record)}


@app.route("batches/{id}/sending", methods=["POST"])
@endpoint
def begin_copy(req: func.HttpRequest) -> Answer:
    """Answer what the run that holds the delivery is to send now, by lists of files: what was sent is not sent again."""
    request = SendingRequest.model_validate_json(_body(req))
    todo = batches.begin_copy(_context(req, request), _batch_id(req), _names(request.found))
    return 200, todo.model_dump(mode="json")


@app.route("batches/{id}/looked", methods=["POST"])
@endpoint
def note_looked(req: func.HttpRequest) -> Answer:
    """Record what a closer look found of a file whose Copy was cut off."""
    request = LookedRequest.model_validate_json(_body(req))
    batch = _batch_id(req)
    batches.note_looked(_context(req, request), batch, request.file, request.bytes)
    return 200, {"batch": batch, "file": request.file}


@app.route("batches/{id}/sent", methods=["POST"])
@endpoint
def note_copied(req: func.HttpRequest) -> Answer:
    """Record that the Copy of a list was completed, and insist that its files are there."""
    request = SentRequest.model_validate_json(_body(req))
    batch = _batch_id(req)
    context = _context(req, request)
    written = batches.Written(files=request.files, bytes=request.bytes)
    batches.note_copied(context, batch, request.list, written=written, found=_names(request.found))
    return 200, {"batch": batch, "list": request.list}


@app.route("batches/{id}/confirm", methods=["POST"])
@endpoint
def confirm(req: func.HttpRequest) -> Answer:
    """Return the receipt; of a batch that a run of Data Factory has sent as a whole it is written now, and plaintext purged."""
    request = ConfirmRequest.model_validate_json(_body(req))
    context, batch = _context(req, request), _batch_id(req)
    if request.list is not None:
        written = batches.Written(files=request.files, bytes=request.bytes)
        batches.note_copied(context, batch, request.list, written=written, found=_names(request.found))
    return 200, batches.confirm_copied(context, batch).model_dump(mode="json")


@app.route("await", methods=["POST"])
@endpoint
def look(req: func.HttpRequest) -> Answer:
    """How the batches that a run started stand, and what it does next: send, wait or end."""
    request = WaitRequest.model_validate_json(_body(req))
    context = _context(req, request)
    waited = (context.now() - request.since).total_seconds()
    ids = [BatchId.parse(each) for each in request.batches]
    return 200, batches.look(context, ids, waited_seconds=waited, longest_seconds=request.longest)


@app.route("batches/{id}/failed", methods=["POST"])
@endpoint
def record_failure(req: func.HttpRequest) -> Answer:
    """Record that a run of Data Factory gave up, and why; a batch that another run works on goes on."""
    request = FailedRequest.model_validate_json(_body(req))
    context = _context(req, request)
    record = batches.record_run_failure(
        context,
        _batch_id(req),
        step=request.step,
        cause=request.cause,
        hint="fix the cause, then run deliver_batch again for the same window: it goes on where it stopped",
    )
    return 200, {"batch": record.batch, "state": batches.state_of(context, record)}


@app.route("batches/{id}", methods=["GET"])
@endpoint
def status(req: func.HttpRequest) -> Answer:
    """The state of a batch, with its receipt once it is delivered."""
    return 200, batches.read_status(_context(req), _batch_id(req))


@app.route("batches", methods=["GET"])
@endpoint
def list_batches(req: func.HttpRequest) -> Answer:
    """The newest batches and their states: `?partner=`, `?feed=`, `?state=`, `?date=`, `?limit=`."""
    limit = _number(req, "limit", 20, LIST_LIMIT)
    wanted = batches.Wanted(
        partner=_name(req, "partner"),
        feed=_name(req, "feed"),
        state=req.params.get("state"),
        day=req.params.get("date"),
    )
    found = batches.list_batches(_context(req), wanted, limit=limit)
    return 200, {"batches": found}


@app.route("batches/{id}/ledger", methods=["GET"])
@endpoint
def ledger(req: func.HttpRequest) -> Answer:
    """Every step of a batch: who, what, when, in which run."""
    batch = _batch_id(req)
    return 200, {"batch": str(batch), "entries": batches.history(_context(req), batch)}


@app.route("batches/{id}/verify", methods=["GET"])
@endpoint
def verify(req: func.HttpRequest) -> Answer:
    """Signature, records and ledger of a batch; with `?file=`, the bytes of one sealed file."""
    if file := req.params.get("file"):
        return 200, batches.verify_file(_context(req), _batch_id(req), file)
    return 200, batches.verify(_context(req), _batch_id(req))


@app.route("batches/{id}/resend", methods=["POST"])
@endpoint
def resend(req: func.HttpRequest) -> Answer:
    """Make a delivered batch deliverable again, with the reason."""
    request = ResendRequest.model_validate_json(_body(req))
    context = _context(req)
    record = batches.resend(context, _batch_id(req), reason=request.reason, who=request.who)
    return 200, {"batch": record.batch, "state": batches.state_of(context, record), "delivery": record.delivery}


@app.route("batches/{id}/replay", methods=["POST"])
@endpoint
def replay(req: func.HttpRequest) -> Answer:
    """Let a batch that failed or hangs go on from a step."""
    request = ReplayRequest.model_validate_json(_body(req))
    context = _context(req)
    record = batches.replay(context, _batch_id(req), start=request.start, who=request.who)
    return 200, {"batch": record.batch, "state": batches.state_of(context, record)}


@app.route("purge", methods=["POST"])
@endpoint
def purge(req: func.HttpRequest) -> Answer:
    """Purge what delivered batches left in raw; name other plaintext that is too old."""
    request = PurgeRequest.model_validate_json(_body(req))
    older_than = timedelta(hours=request.older_than_hours)
    swept = batches.sweep(_context(req), older_than=older_than, who=request.who)
    return 200, {"purged": swept.purged, "overdue": swept.overdue}


@app.route("standings", methods=["GET"])
@endpoint
def standings(req: func.HttpRequest) -> Answer:
    """How every feed with a deadline stands for the last `?days=` business dates and `?ahead=`, and when every feed runs next."""
    days = _number(req, "days", batches.BACK_DAYS, batches.MOST_DAYS)
    ahead = _number(req, "ahead", 0, batches.MOST_DAYS)
    return 200, batches.overview(_context(req), back_days=days, ahead_days=ahead)


@app.route("feeds/{partner}/{feed}", methods=["GET"])
@endpoint
def explain(req: func.HttpRequest) -> Answer:
    """Why a feed is due or not on a day of its partner's zone, `?day=`: its runs, what they cover and what they wait for."""
    try:
        day = date.fromisoformat(req.params["day"]) if req.params.get("day") else None
    except ValueError:
        raise batches.InvalidRequest("?day= is not a date", "write it as 2026-11-21") from None
    if day and not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise batches.InvalidRequest("?day= is outside the calendar", f"years from {FIRST_YEAR} to {LAST_YEAR}")
    return 200, batches.explain(_context(req), req.route_params["partner"], req.route_params["feed"], day)


@app.route("feeds/{partner}/{feed}/index", methods=["POST"])
@endpoint
def rebuild_index(req: func.HttpRequest) -> Answer:
    """Make a feed's index of newest batches from their records, whatever it holds now."""
    context = _context(req, IndexRequest.model_validate_json(_body(req)))
    partner, feed = req.route_params["partner"], req.route_params["feed"]
    return 200, {"partner": partner, "feed": feed, "batches": batches.reindex(context, partner, feed)}


@app.route("monitor/{*path}", methods=["GET"], auth_level=PAGES_LEVEL)
def monitor(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The operators' pages, behind a function key of their own or the platform's sign-in; a 404 unless MONITOR=on.

    Neither key nor address is logged.
    """
    with batches.step(
        "request", traceparent=_traceparent(context), route="monitor", invocation_id=context.invocation_id
    ):
        page = _page(req)
    return func.HttpResponse(
        page.body, status_code=page.status, headers=page.headers, mimetype=page.mimetype, charset="utf-8"
    )


def _page(req: func.HttpRequest) -> pages.Page:
    import monitor as pages  # with its templates a tenth of the app's start; most invocations show no page

    path, key = req.route_params.get("path") or "", req.params.get("code")
    # The platform sets this header for who has signed in, and removes it from any other request.
    if PAGES_LEVEL is func.AuthLevel.ANONYMOUS and not req.headers.get("x-ms-client-principal-id"):
        return pages.not_signed_in()
    try:
        return pages.answer(_context(), path=path, query=req.params, key=key, etag=req.headers.get("if-none-match", ""))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as in `endpoint`: no stack, row or secret leaves the app
        batches.log_failure("request.crashed", error=type(error).__name__)
        return pages.failed()


@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@endpoint
def health(req: func.HttpRequest) -> Answer:  # noqa: ARG001 - the binding demands the argument
    """The app is alive; it looks at nothing else."""
    return 200, {"status": "alive"}


@app.route("ready", methods=["GET"])
@endpoint
def ready(req: func.HttpRequest) -> Answer:  # noqa: ARG001 - the binding demands the argument
    """Storage, queue and vault can be used, and so can every partner file; `causes` names what cannot, and why."""
    needs: dict[str, batches.Need] = {
        **batches.storage_needs(batches.open_stores()),
        "signing key": batches.Need(ask=lambda: _vault().key_id(batches.signing_key())),
        "partner files": batches.Need(ask=lambda: load_partners(_sftp_addresses())),
    }
    causes = batches.find_causes(needs)
    checks = {name: name not in causes for name in needs}
    return 503 if causes else 200, {"ready": not causes, "checks": checks, "causes": causes}


@app.timer_trigger(arg_name="timer", schedule="0 */15 * * * *")
def watch(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands the argument
    """Look for answers of partners, and report every feed that is late, missing or failed."""
    with _process_kept():
        context = _context()
        partners = batches.usable_partners(context)
        try:
            batches.fetch_answers(context, partners)
        finally:  # whatever is wrong with answers, what is late or missing is reported
            batches.alert(context, partners)
        batches.complete_recent(context, [(partner.name, name) for partner in partners for name in partner.feeds])


@app.queue_trigger(arg_name="message", queue_name="seal", connection="AzureWebJobsStorage")
def seal_worker(message: func.QueueMessage) -> None:
    """Shape the rows or seal the files of one message."""
    with _process_kept():
        batches.seal_files(_context(), message.get_body().decode(), attempt=message.dequeue_count or 1)


@app.queue_trigger(arg_name="message", queue_name="seal-poison", connection="AzureWebJobsStorage")
def seal_poison(message: func.QueueMessage) -> None:
    """Record that a file failed after every retry, so that its batch does not run for ever."""
    _give_up(batches.give_up, message, "seal-poison")


@app.queue_trigger(arg_name="message", queue_name="deliver", connection="AzureWebJobsStorage")
def deliver_worker(message: func.QueueMessage) -> None:
    """Bring one batch to its partner."""
    with _process_kept():
        batches.deliver_batch(_context(), message.get_body().decode())


@app.queue_trigger(arg_name="message", queue_name="deliver-poison", connection="AzureWebJobsStorage")
def deliver_poison(message: func.QueueMessage) -> None:
    """Record that a delivery was given up after every retry."""
    _give_up(batches.give_up_delivery, message, "deliver-poison")


def _give_up(record: Callable[[batches.Context, str], None], message: func.QueueMessage, queue: str) -> None:
    """Record a message's end; one about a batch that is unknown or unreadable is logged, and gone. Others are tried again."""
    try:
        with _process_kept():
            record(_context(), message.get_body().decode())
    except batches.BatchError as error:
        batches.log_failure("message.dropped", error=error.message)
    except Exception as error:
        batches.put_off(queue, message.id, message.pop_receipt, message.dequeue_count or 1, error)
        raise


@contextmanager
def _process_kept() -> Iterator[None]:
    """Turn an attempt to end the process into an error: it would end Azure's worker, with every other call on it."""
    try:
        yield
    except SystemExit as end:
        raise RuntimeError(f"a step asked to end the process ({end})") from end


def _context(req: func.HttpRequest | None = None, request: _Request | None = None) -> batches.Context:
    """Return what one invocation works with; the run is that of the body or of the header that Data Factory sends."""
    run_id = (request.run_id if request else None) or (_header_run_id(req) if req else None)
    return batches.Context(
        stores=batches.open_stores(),
        vault=_vault(),
        clock=_now,
        sftp=_sftp_addresses(),
        sources=_source_addresses(),
        run_id=run_id,
        claim_expires=_claim_expires(),
    )


def _claim_expires() -> timedelta:
    minutes = os.environ.get("SENDING_EXPIRES_MINUTES")
    return timedelta(minutes=float(minutes)) if minutes else batches.CLAIM_EXPIRES


def _body(req: func.HttpRequest) -> bytes:
    body = req.get_body()
    if len(body) > BODY_LIMIT_BYTES:
        raise batches.InvalidRequest(f"the body is larger than {BODY_LIMIT_BYTES} bytes", "send references, not data")
    return body or b"{}"


def _header_run_id(req: func.HttpRequest) -> str | None:
    given = req.headers.get("x-adf-run-id", "")[:100]
    return given if given.isprintable() and given else None


def _traceparent(context: func.Context) -> str | None:
    """Return the caller's trace: the platform attaches it to coroutines only, and no function here is one."""
    return context.trace_context.trace_parent or None if context.trace_context else None


def _number(req: func.HttpRequest, parameter: str, default: int, most: int) -> int:
    """Return a number of the query, the default where it is left out. Raises InvalidRequest."""
    if parameter not in req.params:
        return default
    asked = req.params[parameter]
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0
    if not 1 <= number <= most:
        raise batches.InvalidRequest(
            f"?{parameter}= is not a number that is served", f"write a number from 1 to {most}"
        )
    return number


def _instant(req: func.HttpRequest, parameter: str) -> datetime:
    """Return an instant of the query. Raises InvalidRequest."""
    try:
        moment = _in_bounds(datetime.fromisoformat(req.params.get(parameter, "")))
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - has no zone, so it is refused below
    if moment.tzinfo is None:
        raise batches.InvalidRequest(f"?{parameter}= is not an instant", "write it as 2026-11-21T00:00:00Z")
    return moment


def _name(req: func.HttpRequest, parameter: str) -> str | None:
    """Return a partner's or feed's name of the query, None where none is given. Raises InvalidRequest."""
    name: str | None = req.params.get(parameter)
    if name and not NAME.fullmatch(name):
        raise batches.InvalidRequest(f"?{parameter}= is not the name of a {parameter}", "such as northwind or accruals")
    return name or None


def _names(found: list[FoundItem] | None) -> set[str]:
    return {item.name for item in found or ()}


def _batch_id(req: func.HttpRequest) -> BatchId:
    return BatchId.parse(req.route_params["id"])


def _vault() -> Vault:
    return Vault(os.environ["KEY_VAULT_URL"], batches.credential())


def _sftp_addresses() -> Mapping[str, Mapping[str, object]]:
    addresses: Mapping[str, Mapping[str, object]] = json.loads(os.environ.get("PARTNER_SFTP") or "{}")
    return addresses


def _source_addresses() -> Mapping[str, Mapping[str, object]]:
    addresses: Mapping[str, Mapping[str, object]] = json.loads(os.environ.get("FEED_SOURCES") or "{}")
    return addresses


def _now() -> datetime:
    return datetime.now(UTC)

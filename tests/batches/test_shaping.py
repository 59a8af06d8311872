"""Staged rows become files in the raw container, once, whatever is killed; then they are sealed and read back."""

# ruff: noqa: E501 - a layout reads best on one line

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.queue import QueueClient
from batch_world import DAY, PARTNER_KEY, START, World

import batches
from batches import Record
from batches import record as records
from batches.record import ROWS
from encryption import ColumnSum, Manifest, open_sealed
from partners.loading import FOLDER, load_partner

LAYOUT = """
    layout: {delimited: ",", quote: never, line_end: lf, rows_per_file: 2, empty: %s, records: [
      {record: H, at: start, fields: [{constant: H}, {number: sequence}, {number: part}, {number: parts}, {count: rows}, {sum: amount}]},
      {record: R, at: row, fields: [{constant: R}, {column: id}, {column: amount}]}]}
    file_name: "X_{date:%%Y%%m%%d}_{sequence:04d}.txt"
"""


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give northwind a feed with the layout of a test."""

    def write(empty: str = "skip", more: str = "", layout: str = LAYOUT) -> None:
        head = (FOLDER / "northwind.yaml").read_text().split("feeds:")[0]
        text = (
            f"{head}feeds:\n  accruals:\n    title: x\n    table: marts.x\n    business_date: d\n    order_by: [id]\n"
            f"    columns: [id, {{name: amount, type: decimal, scale: 2}}]\n{layout % empty}{more}"
        )
        (tmp_path / "northwind.yaml").write_text(text)

    write()
    monkeypatch.setattr("batches.context.load_partner", partial(load_partner, folder=tmp_path))
    return write


def extract(world: World, record: Record, amounts: list[str], **control: object) -> None:
    """Be the Copy activity: write the rows and the control object."""
    lines = [json.dumps([number, f"id{number}", amount]) for number, amount in enumerate(amounts, 1)]
    counted = {"rows": len(amounts), "sums": {"amount": f"{sum(float(a) for a in amounts):.2f}"}, "ties": 0}
    body = "\n".join([*lines, json.dumps(counted | control)]) + "\n"
    world.stores.raw.upload_blob(f"{record.batch.folder}/{ROWS}", body.encode(), overwrite=True)


def finish(world: World, record: Record) -> dict[str, Any]:
    """Ask for sealing and work all messages; return the status."""
    world.request(record)
    while world.work():
        pass
    return world.status(record)


def opened(world: World, record: Record) -> dict[str, str]:
    found = batches.read(world.stores.batches, record.batch)
    return {
        name: b"".join(open_sealed([world.blob(found, found.sealed_name(name))], PARTNER_KEY)).decode()
        for name in found.files
    }


FILES = {
    "X_20261121_0001.txt": "H,1,1,2,2,3.50\nR,id1,1.00\nR,id2,2.50\n",
    "X_20261121_0002.txt": "H,2,2,2,1,3.00\nR,id3,3.00\n",
}


def test_rows_become_sealed_files_and_no_staged_row_is_left(world: World, feed: Any) -> None:
    record = world.plan()
    assert record.files == []
    extract(world, record, ["1.00", "2.50", "3.00"])

    assert finish(world, record)["state"] == "sealed"

    assert opened(world, record) == FILES
    assert not world.stores.raw.get_blob_client(f"{record.batch.folder}/{ROWS}").exists()
    entries = {entry["step"]: entry["details"] for entry in batches.history(world.context, record.batch)}
    assert list(entries) == ["planned", "extracted", "shaped", "sealed"]
    assert entries["shaped"] == {"files": 2, "rows": 3, "sums": {"amount": "6.5"}, "control_totals_agree": None}
    assert batches.verify(world.context, record.batch)["ok"]
    assert world.confirm(batches.read(world.stores.batches, record.batch)).files
    assert world.raw_versions() == []


def manifest_of(world: World, record: Record) -> Manifest:
    return Manifest.from_bytes(world.blob(record, "manifest.json"))


def test_the_signed_manifest_carries_the_sums_that_the_partner_file_asks_for(world: World, feed: Any) -> None:
    feed(more="    manifest_totals: true\n")
    record = world.plan()
    feed()  # what the batch was planned with counts
    extract(world, record, ["1.00", "-2.50", "3.25"])
    finish(world, record)

    manifest = manifest_of(world, record)

    assert manifest.version == 2
    assert manifest.sums == (ColumnSum(column="amount", sum="1.75"),)
    assert [each.sums for each in manifest.files] == [(ColumnSum(column="amount", sum=s),) for s in ("-1.5", "3.25")]
    assert manifest.totals["rows"] == 3
    assert batches.verify(world.context, record.batch)["ok"]


def test_a_manifest_without_the_wish_is_one_of_version_1(world: World, feed: Any) -> None:
    record = world.plan()
    extract(world, record, ["1.00"])
    finish(world, record)

    assert manifest_of(world, record).version == 1
    assert b"sums" not in world.blob(record, "manifest.json")


def test_files_that_were_not_shaped_here_have_no_sums_to_sign(world: World, feed: Any) -> None:
    feed(more="    manifest_totals: true\n")
    record = world.plan()
    records.update(
        world.stores.batches, record.batch, lambda r: r.model_copy(update={"files": ["X_20261121_0001.txt"]})
    )
    world.stores.raw.upload_blob(f"{record.batch.folder}/X_20261121_0001.txt", b"by hand\n")

    status = finish(world, record)

    assert status["state"] == "failed"
    assert "its sums are not known" in status["failure"]["cause"]
    assert list(world.stores.encrypted.list_blob_names(name_starts_with=f"{record.batch.folder}/manifest")) == []


def test_the_next_batch_takes_the_next_numbers_and_a_repeated_window_keeps_its_own(world: World, feed: Any) -> None:
    first, second = world.plan(), world.plan(START + DAY)
    extract(world, first, ["1.00"] * 5)
    finish(world, first)
    extract(world, second, ["1.00"] * 2)
    finish(world, second)

    assert list(opened(world, first)) == [f"X_20261121_{n:04d}.txt" for n in (1, 2, 3)]
    assert list(opened(world, second)) == ["X_20261122_0004.txt"]
    assert finish(world, first)["state"] == "sealed"
    assert list(opened(world, first)) == [f"X_20261121_{n:04d}.txt" for n in (1, 2, 3)]


def test_rows_that_do_not_fit_fail_the_batch_leave_no_file_and_can_be_extracted_again(world: World, feed: Any) -> None:
    record = world.plan()
    extract(world, record, ["1.00", "2.00", "3.001"])

    status = finish(world, record)

    assert status["state"] == "failed"
    assert "row 3, record R, field 3 'amount': has more than 2 decimals" in status["failure"]["cause"]
    assert "3.001" not in json.dumps(status)
    assert [blob.name.rpartition("/")[2] for blob in world.stores.raw.list_blobs()] == [ROWS]
    assert batches.state_of(world.context, world.plan()) == "planned"
    extract(world, record, ["1.00", "2.50", "3.00"])
    assert finish(world, record)["state"] == "sealed"
    assert opened(world, record) == FILES


def test_a_skipped_batch_ends_empty_is_neither_late_nor_sent_and_takes_no_number(world: World, feed: Any) -> None:
    record = world.plan()
    extract(world, record, [])

    status = finish(world, record)

    assert status["state"] == "empty"
    assert world.raw_versions() == []
    assert finish(world, record)["state"] == "empty"
    found = batches.read(world.stores.batches, record.batch)
    assert batches.confirm_empty(world.context, found).files == []
    following = world.plan(START + DAY)
    extract(world, following, ["1.00"])
    finish(world, following)
    assert list(opened(world, following)) == ["X_20261122_0001.txt"]
    assert following.sequence == 1, "manifests are numbered without a gap"


def test_a_batch_without_rows_fails_where_the_feed_says_so(world: World, feed: Any) -> None:
    feed("fail")
    record = world.plan()
    extract(world, record, [])

    status = finish(world, record)

    assert status["state"] == "failed"
    assert "empty: fail" in status["failure"]["cause"]


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ({"rows": 2}, "the database counted 2 rows, the files hold 3"),
        ({"sums": {"amount": "6.51"}}, "the database's sum of amount differs"),
        ({"ties": 1}, "order_by does not decide the order"),
        ({"types": {"amount": "double precision"}}, "floating-point"),
        ({"totals": [{"rows": "3", "sums": {"amount": "6.49"}}]}, "the mart's control total of amount differs"),
    ],
)
def test_figures_that_disagree_stop_the_batch(world: World, feed: Any, control: dict[str, object], words: str) -> None:
    feed(more="    control: {table: marts.t, rows: n, sums: {amount: total}}\n")
    record = world.plan()
    extract(
        world, record, ["1.00", "2.50", "3.00"], **({"totals": [{"rows": "3", "sums": {"amount": "6.5"}}]} | control)
    )

    status = finish(world, record)

    assert status["state"] == "failed"
    assert words in status["failure"]["cause"]


def test_a_file_that_was_changed_after_shaping_is_never_sealed(world: World, feed: Any) -> None:
    """The same size and the newest ETag: only the reading back can see it."""
    record = world.plan()
    extract(world, record, ["1.00", "2.50", "3.00"])
    world.request(record)
    message = next(iter(world.stores.seal_queue.receive_messages()))
    batches.seal_files(world.context, message.content)
    world.stores.seal_queue.delete_message(message)
    found = batches.read(world.stores.batches, record.batch)
    assert found.staged
    blob = world.stores.raw.get_blob_client(f"{record.batch.folder}/{found.staged[0].name}")
    data = blob.download_blob().readall().replace(b"2.50", b"2.60")
    changed = found.staged[0].model_copy(update={"etag": blob.upload_blob(data, overwrite=True)["etag"]})
    batches.record.update(
        world.stores.batches,
        record.batch,
        lambda current: current.model_copy(update={"staged": [changed, *found.staged[1:]]}),
    )
    for message in world.stores.seal_queue.receive_messages():
        world.stores.seal_queue.delete_message(message)
    batches.request_sealing(world.context, record.batch, rows={})
    world.work()

    status = world.status(record)
    assert status["state"] == "failed"
    assert "does not read back as its layout says" in status["failure"]["cause"]
    assert "2.60" not in json.dumps(status)


def test_compressed_files_are_read_back_as_well(world: World, feed: Any) -> None:
    import gzip

    feed(layout=LAYOUT.replace("rows_per_file: 2,", "compress: gzip,"))
    record = world.plan()
    extract(world, record, ["1.00", "2.50", "3.00"])

    assert finish(world, record)["state"] == "sealed"

    found = batches.read(world.stores.batches, record.batch)
    (name,) = found.files
    data = b"".join(open_sealed([world.blob(found, found.sealed_name(name))], PARTNER_KEY))
    assert gzip.decompress(data).startswith(b"H,1,1,1,3,6.50\n")


def test_numbers_have_a_range_that_is_refused_or_begun_again(world: World, feed: Any) -> None:
    feed(more="    sequence: {from: 7, to: 8, when_full: restart}\n")
    record = world.plan()
    extract(world, record, ["1.00"] * 3)
    assert finish(world, record)["state"] == "sealed"
    assert list(opened(world, record)) == ["X_20261121_0007.txt", "X_20261121_0008.txt"]

    second = world.plan(START + DAY)
    extract(world, second, ["1.00"])
    finish(world, second)
    assert list(opened(world, second)) == ["X_20261122_0007.txt"]

    feed(more="    sequence: {from: 7, to: 8, when_full: refuse}\n")
    third = world.plan(START + 2 * DAY)
    extract(world, third, ["1.00"] * 3)
    assert "end with 8" in finish(world, third)["failure"]["cause"]


def test_feeds_of_a_partner_may_share_their_numbers(world: World, feed: Any) -> None:
    shared = "    sequence: {scope: partner, from: 5}\n"
    layout = (LAYOUT % "skip").replace("X_", "Y_")
    other = "  second:\n    title: y\n    table: marts.y\n    business_date: d\n    order_by: [id]\n    columns: [id, {name: amount, type: decimal, scale: 2}]\n"
    feed(more=shared + other + layout + shared)
    records = [world.plan(), world.plan(feed="second"), world.plan(START + DAY)]
    for record in records:
        extract(world, record, ["1.00"] * 3)
        assert finish(world, record)["state"] == "sealed"

    assert [list(opened(world, record)) for record in records] == [
        ["X_20261121_0005.txt", "X_20261121_0006.txt"],
        ["Y_20261121_0007.txt", "Y_20261121_0008.txt"],
        ["X_20261122_0009.txt", "X_20261122_0010.txt"],
    ]


def test_a_letter_tells_a_correction_apart(world: World, feed: Any) -> None:
    feed(layout=LAYOUT.replace("_{sequence:04d}", "_{letter}_{part:02d}"))
    names = []
    for revision in (1, 2):
        record = world.plan(revision=revision)
        extract(world, record, ["1.00"])
        finish(world, record)
        names += list(opened(world, record))

    assert names == ["X_20261121_A_01.txt", "X_20261121_B_01.txt"]


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], None]:
    """End the process before or after the n-th call to storage."""
    send, state = RequestsTransport.send, {"left": -1, "after": False}

    def counted(self: Any, request: Any, **options: Any) -> Any:
        state["left"] -= 1
        if state["left"] == 0 and not state["after"]:
            raise Killed
        answer = send(self, request, **options)
        if state["left"] == 0 and state["after"]:
            raise Killed
        return answer

    def arm(number: int, after: bool) -> None:
        state.update(left=number, after=after)

    monkeypatch.setattr(RequestsTransport, "send", counted)
    return arm


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_shaping_can_be_killed_at_every_call_and_ends_in_the_same_place(
    world: World, feed: Any, killing: Callable[[int, bool], None], after: bool
) -> None:
    """Each number of a call is a batch of its own: killed there, run again, and as if nothing had happened."""
    kills = 0
    for number in range(1, 60):
        record = world.plan(revision=number)
        extract(world, record, ["1.00", "2.50", "3.00"])
        world.request(record)
        (message,) = list(world.stores.seal_queue.receive_messages())
        killing(number, after)
        try:
            batches.seal_files(world.context, message.content)
            was_killed = False
        except Killed:
            was_killed = True
        killing(-1, False)
        kills += was_killed
        batches.seal_files(world.context, message.content)  # the queue gives it again
        world.stores.seal_queue.delete_message(message)
        while world.work():
            pass

        assert world.status(record)["state"] == "sealed"
        first = (number - 1) * 2 + 1
        assert list(opened(world, record).values()) == [
            f"H,{first},1,2,2,3.50\nR,id1,1.00\nR,id2,2.50\n",
            f"H,{first + 1},2,2,1,3.00\nR,id3,3.00\n",
        ]
        assert [
            name for name in world.raw_versions() if name.startswith(record.batch.folder) and name.endswith(ROWS)
        ] == []
        if not was_killed:
            break
    assert kills > 8


def test_shaping_can_be_killed_at_every_line_of_its_code(world: World, feed: Any) -> None:
    """Killed once before each line of the module, each time in a batch of its own, and run again by the queue."""
    lines: list[int] = []
    _shape_traced(world, 1, lambda line: lines.append(line) or False)
    places = sorted(set(lines))
    assert len(places) > 80

    for revision, place in enumerate(places, 2):
        assert _shape_traced(world, revision, lambda line, place=place: line == place), place


def _shape_traced(world: World, revision: int, kill: Callable[[int], bool]) -> bool:
    """Shape a batch, killed at the first line for which `kill` is true; then let the queue give the message again."""
    record = world.plan(revision=revision)
    extract(world, record, ["1.00", "2.50", "3.00"])
    world.request(record)
    (message,) = list(world.stores.seal_queue.receive_messages())

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.endswith("batches/shaping.py"):
            return None
        if event == "line" and kill(frame.f_lineno):
            sys.settrace(None)
            raise Killed
        return trace

    before, was_killed = sys.gettrace(), False
    sys.settrace(trace)
    try:
        batches.seal_files(world.context, message.content)
    except Killed:
        was_killed = True
    finally:
        sys.settrace(before)
    batches.seal_files(world.context, message.content)
    world.stores.seal_queue.delete_message(message)
    found = batches.read(world.stores.batches, record.batch)
    first = (revision - 1) * 2 + 1
    assert [(file.sequence, file.rows) for file in found.staged or []] == [(first, 2), (first + 1, 1)]
    folder = [
        blob.name.rpartition("/")[2] for blob in world.stores.raw.list_blobs(name_starts_with=record.batch.folder)
    ]
    assert folder == [file.name for file in found.staged or []], "no staged row is left, and no file of a killed run"
    for message in world.stores.seal_queue.receive_messages():
        world.stores.seal_queue.delete_message(message)
    return was_killed


def test_two_workers_with_the_same_message_make_the_files_once(world: World, feed: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    record = world.plan()
    extract(world, record, ["1.00", "2.50", "3.00"])
    world.request(record)
    (message,) = list(world.stores.seal_queue.receive_messages())

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(batches.seal_files, world.context, message.content) for _ in range(4)]:
            done.result()
    world.stores.seal_queue.delete_message(message)
    while world.work():
        pass

    assert world.status(record)["state"] == "sealed"
    assert opened(world, record) == FILES


def test_a_message_given_up_fails_the_batch_and_lets_go_of_its_rows(world: World, feed: Any) -> None:
    record = world.plan()
    extract(world, record, ["1.00"])
    world.request(record)
    (message,) = list(world.stores.seal_queue.receive_messages())

    batches.give_up(world.context, message.content)

    assert world.status(record)["failure"]["cause"] == "shaping failed after every retry"
    assert batches.state_of(world.context, world.plan()) == "planned"


def test_a_message_about_rows_that_were_extracted_anew_does_nothing(world: World, feed: Any) -> None:
    record = world.plan()
    extract(world, record, ["1.001"])
    world.request(record)
    (old,) = list(world.stores.seal_queue.receive_messages())
    batches.seal_files(world.context, old.content)
    world.stores.seal_queue.delete_message(old)
    world.plan()
    extract(world, record, ["1.00", "2.50", "3.00"])
    world.request(record)

    batches.seal_files(world.context, old.content)
    while world.work():
        pass

    assert world.status(record)["state"] == "sealed"


def test_a_correction_with_the_name_that_it_corrects_is_refused(world: World, feed: Any) -> None:
    feed(layout=LAYOUT.replace("_{sequence:04d}", "_{part:02d}"))

    with pytest.raises(batches.InvalidRequest, match="would have the file name of the one that it corrects"):
        world.plan(revision=2)


def test_a_batch_that_an_older_version_planned_gets_today_s_query(world: World, feed: Any) -> None:
    record = world.plan()
    path = f"{record.batch.folder}/batch.json"
    old = json.loads(world.stores.batches.download_blob(path).readall())
    old |= {
        "query": "SELECT 1",
        "files": ["X.txt"],
        "layout": {
            "delimiter": "|",
            "quote": '"',
            "escape": '"',
            "quote_all": False,
            "line_end": "lf",
            "header": True,
            "null": "",
            "encoding": "utf-8",
        },
    }
    for new in ("rows", "emptied_at"):
        old.pop(new)
    world.stores.batches.upload_blob(path, json.dumps(old), overwrite=True)

    renewed = world.plan()

    assert "json_build_array" in renewed.query
    assert renewed.layout is None


def test_forty_parts_are_queued_in_groups(world: World, feed: Any) -> None:
    record = world.plan()
    extract(world, record, ["1.00"] * 120)

    assert finish(world, record)["state"] == "sealed"

    found = batches.read(world.stores.batches, record.batch)
    assert [file.rows for file in found.staged or []] == [2] * 60
    assert isinstance(world.stores.seal_queue, QueueClient)

"""What a partner's answers mean."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

import pytest
from delivery_servers import AsyncSsh, OpenSsh, policy_for

from delivery import (
    BytesSource,
    FileAnswer,
    FolderMissing,
    ReceiptAnswer,
    SentFile,
    Unusable,
    Verdict,
    answers,
    deliver,
    poll_answers,
)
from delivery.answers import Found, judge_answers

SENT = [SentFile(name="a.sealed", records=10), SentFile(name="b.sealed", records=5)]
ACK = FileAnswer(folder="/out", pattern="{name}.ack", says="accepted")
ERR = FileAnswer(folder="/out", pattern="{name}.err", says="rejected", reason="content")
RENAMED = FileAnswer(folder="/in", pattern="{stem}_rejected*", says="rejected")
RECEIPT = ReceiptAnswer(
    folder="/out",
    pattern="receipt-{batch}*.csv",
    name_column="file",
    status_column="status",
    reason_column="reason",
    accepted=frozenset({"OK"}),
    rejected=frozenset({"ERR"}),
    accepted_records_column="ok",
    rejected_records_column="bad",
)


def said(verdict: Verdict) -> dict[str, str]:
    return {file.name: file.says for file in verdict.files}


def receipt(*rows: str) -> Found:
    return Found({"/out": {"receipt-b1.csv": "\r\n".join(["file,status,reason,ok,bad", *rows, ""]).encode()}})


def test_no_answer_is_waiting() -> None:
    assert judge_answers(Found(), [ACK, ERR], SENT).says == "waiting"


def test_a_batch_is_acknowledged_when_every_file_is() -> None:
    one = judge_answers(Found({"/out": {"a.sealed.ack": b""}}), [ACK], SENT)
    both = judge_answers(Found({"/out": {"a.sealed.ack": b"", "b.sealed.ack": b""}}), [ACK], SENT)

    assert (one.says, said(one)) == ("waiting", {"a.sealed": "accepted", "b.sealed": "waiting"})
    assert both.says == "acknowledged"


def test_one_rejected_file_rejects_the_batch_with_the_partners_words() -> None:
    found = Found({"/out": {"a.sealed.ack": b"", "b.sealed.err": b"E17\r\nbad \x1b[31mkey\x00\n"}})

    verdict = judge_answers(found, [ACK, ERR], SENT)

    assert verdict.says == "rejected"
    assert verdict.reason == "b.sealed: E17 bad [31mkey"


def test_a_renamed_file_is_a_rejection() -> None:
    verdict = judge_answers(Found({"/in": {"a_rejected.sealed": b"", "b.sealed": b""}}), [RENAMED], SENT)

    assert said(verdict) == {"a.sealed": "rejected", "b.sealed": "waiting"}
    assert verdict.files[0].answer == "/in/a_rejected.sealed"


def test_accepted_and_rejected_at_once_is_a_rejection() -> None:
    assert (
        judge_answers(Found({"/out": {"a.sealed.ack": b"", "a.sealed.err": b"late"}}), [ACK, ERR], SENT).says
        == "rejected"
    )


def test_a_receipt_acknowledges_when_the_counts_agree() -> None:
    assert (
        judge_answers(receipt("a.sealed,OK,,10,0", "b.sealed,OK,,5,0"), [RECEIPT], SENT, batch="b1").says
        == "acknowledged"
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.sealed,ERR,not decryptable,0,0", "not decryptable"),
        ("a.sealed,ERR,,0,0", "status ERR"),
        ("a.sealed,OK,,9,0", "10 records were sent, the receipt counts 9 accepted and 0 rejected"),
        ("a.sealed,OK,,9,1", "1 of 10 records were rejected"),
        ("a.sealed,OK,,x,1", "does not count the records"),
        ("a.sealed,MAYBE,,10,0", "unknown status 'MAYBE'"),
        ("a.sealed", "unknown status None"),
    ],
)
def test_a_receipt_that_does_not_add_up_is_a_rejection(row: str, reason: str) -> None:
    verdict = judge_answers(receipt(row), [RECEIPT], SENT, batch="b1")

    assert verdict.says == "rejected"
    assert reason in verdict.reason


def test_another_batchs_receipt_is_not_ours() -> None:
    assert judge_answers(receipt("a.sealed,OK,,10,0"), [RECEIPT], SENT, batch="b2").says == "waiting"


def test_a_receipt_that_cannot_be_read_is_no_answer_and_is_told() -> None:
    found = Found({"/out": {"receipt-b1.csv": b"file,status\n\xff,OK\n"}})

    verdict = judge_answers(found, [RECEIPT], SENT, batch="b1")

    assert verdict.says == "waiting"
    assert "is not utf-8" in verdict.files[0].reason


def test_a_receipt_that_cannot_be_read_does_not_hide_another() -> None:
    good = receipt("a.sealed,OK,,10,0", "b.sealed,OK,,5,0").folders["/out"]["receipt-b1.csv"]
    found = Found({"/out": {"receipt-b1-old.csv": b"file,status\n\xff,OK\n", "receipt-b1.csv": good}})

    assert judge_answers(found, [RECEIPT], SENT, batch="b1").says == "acknowledged"


@pytest.mark.parametrize(
    "cut",
    [
        "",
        "file,sta",
        "a.seal",
        "a.sealed",
        "a.sealed,",
        "a.sealed,O",
        "a.sealed,OK",
        "a.sealed,OK,,1",
        'a.sealed,"O',
        "ä",
    ],
)
def test_a_receipt_that_is_still_being_written_is_waited_for(cut: str) -> None:
    content = f"file,status,reason,ok,bad\r\n{cut}".encode()
    content = content[:-1] if cut == "ä" else content

    verdict = judge_answers(Found({"/out": {"receipt-b1.csv": content}}), [RECEIPT], SENT, batch="b1")

    assert verdict.says == "waiting"


def test_the_last_row_of_a_receipt_needs_no_line_end() -> None:
    whole = receipt("b.sealed,OK,,5,0", "a.sealed,OK,,10,0").folders["/out"]["receipt-b1.csv"].rstrip()

    assert judge_answers(Found({"/out": {"receipt-b1.csv": whole}}), [RECEIPT], SENT, batch="b1").says == "acknowledged"


def test_a_cut_status_that_begins_another_is_waited_for() -> None:
    words = {"accepted": frozenset({"1"}), "rejected": frozenset({"17"})}
    rule = replace(RECEIPT, **words, accepted_records_column="", rejected_records_column="")
    cut = Found({"/out": {"receipt-b1.csv": b"file,status\na.sealed,1"}})
    whole = Found({"/out": {"receipt-b1.csv": b"file,status\na.sealed,1\n"}})

    assert said(judge_answers(cut, [rule], SENT, batch="b1"))["a.sealed"] == "waiting"
    assert said(judge_answers(whole, [rule], SENT, batch="b1"))["a.sealed"] == "accepted"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_belongs_to_no_column(encoding: str) -> None:
    marked = Found({"/out": {"receipt-b1.csv": "\ufefffile,status,reason,ok,bad\na.sealed,OK,,10,0\n".encode()}})
    rule = replace(RECEIPT, encoding=encoding)

    assert said(judge_answers(marked, [rule], SENT, batch="b1"))["a.sealed"] == "accepted"


def test_a_receipt_beyond_all_measure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "RECEIPT_BYTES", 20)

    verdict = judge_answers(receipt("a.sealed,OK,,10,0"), [RECEIPT], SENT, batch="b1")

    assert (verdict.says, verdict.files[0].reason) == (
        "waiting",
        "the receipt /out/receipt-b1.csv is larger than 20 bytes",
    )


def test_a_receipt_of_more_than_a_mebibyte_is_read_to_its_end(server: OpenSsh | AsyncSsh) -> None:
    root = os.fspath(server.files) if isinstance(server, OpenSsh) else ""
    (server.files / "out").mkdir()
    others = b"".join(b"%-60d,OK,,1,0\n" % number for number in range(20_000))
    content = b"file,status,reason,ok,bad\n" + others + b"a.sealed,OK,,10,0\nb.sealed,OK,,5,0\n"
    (server.files / "out" / "receipt-b1.csv").write_bytes(content)

    rule = replace(RECEIPT, folder=f"{root}/out")

    assert poll_answers(server.settings(), [rule], SENT, batch="b1").says == "acknowledged"


def test_a_receipt_without_a_header_is_read_by_number() -> None:
    rule = ReceiptAnswer(
        folder="/out",
        pattern="*.txt",
        header=False,
        delimiter=";",
        name_column="2",
        status_column="1",
        accepted=frozenset({"00"}),
        rejected=frozenset({"99"}),
    )

    verdict = judge_answers(Found({"/out": {"x.txt": b"00;a.sealed\n99; b.sealed\n"}}), [rule], SENT)

    assert said(verdict) == {"a.sealed": "accepted", "b.sealed": "rejected"}


def test_names_are_no_wildcards() -> None:
    verdict = judge_answers(Found({"/out": {"ab.ack": b""}}), [ACK], [SentFile(name="a?"), SentFile(name="[ab]")])

    assert verdict.says == "waiting"


@pytest.mark.parametrize("pattern", ["{nome}.ack", "{", "../{name}", "{0}"])
def test_a_pattern_that_cannot_be_filled_is_refused(pattern: str) -> None:
    with pytest.raises(Unusable):
        FileAnswer(folder="/", pattern=pattern, says="accepted")


def test_answers_are_fetched_from_a_server(server: OpenSsh | AsyncSsh) -> None:
    root = os.fspath(server.files) if isinstance(server, OpenSsh) else ""
    (server.files / "out").mkdir()
    rules = [
        FileAnswer(folder=f"{root}/out", pattern="{name}.ack", says="accepted"),
        FileAnswer(folder=f"{root}/out", pattern="{name}.err", says="rejected", reason="content"),
    ]
    before = poll_answers(server.settings(), rules, SENT)
    (server.files / "out" / "a.sealed.ack").write_bytes(b"")
    (server.files / "out" / "b.sealed.err").write_bytes(b"key unknown\n" + b"x" * 3_000_000)

    after = poll_answers(server.settings(), rules, SENT)

    assert before.says == "waiting"
    assert after.says == "rejected"
    assert after.files[1].reason.startswith("key unknown")


@pytest.mark.parametrize("reason", ["content", "name"])
def test_an_answer_whose_name_is_not_utf_8_is_read(
    server: OpenSsh | AsyncSsh, reason: Literal["content", "name"]
) -> None:
    root = os.fspath(server.files) if isinstance(server, OpenSsh) else ""
    (server.files / "out").mkdir()
    (server.files / os.fsdecode(b"out/r\xe9ponse.err")).write_text("key unknown")
    rule = FileAnswer(folder=f"{root}/out", pattern="*.err", says="rejected", reason=reason)

    verdict = poll_answers(server.settings(), [rule], SENT)

    assert verdict.files[0].reason == {"content": "key unknown", "name": "the partner's answer is r�ponse.err"}[reason]


def test_a_server_that_rejects_by_renaming_is_understood(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.reject = True
    deliver(
        [BytesSource("a.sealed", b"data")],
        settings=asyncssh_server.settings(),
        policy=policy_for(asyncssh_server, confirm=False),
    )
    rule = FileAnswer(folder="/", pattern="{stem}_rejected*", says="rejected")

    verdict = poll_answers(asyncssh_server.settings(), [rule], [SentFile(name="a.sealed")])

    assert verdict.reason == "a.sealed: the partner's answer is a_rejected.sealed"


def test_a_missing_answer_folder_is_named(server: OpenSsh | AsyncSsh) -> None:
    with pytest.raises(FolderMissing):
        poll_answers(server.settings(), [FileAnswer(folder="/no/such", pattern="{name}", says="accepted")], SENT)

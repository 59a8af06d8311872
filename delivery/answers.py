"""What the partner answers: files that say accepted or rejected, renamed files, receipts with a row a file.

`judge_answers` is pure: what was sent, what is in the folders, and the partner's rules give a verdict. `poll_answers`
fetches what it needs over one connection. No answer yet is a verdict too ("waiting"), with a reason where a receipt cannot be
read or is still being written; an answer that contradicts itself, or what was sent, is rejected by us with the reason and
never taken for good.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Literal

from delivery.errors import Unusable
from delivery.folders import list_folder, read_small
from delivery.settings import ConnectionSettings

Said = Literal["accepted", "rejected"]
_LONGEST_REASON = 500

# 10,000 files of a batch need about one; a receipt may be about more than one batch.
RECEIPT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """A file whose name is the answer.

    `pattern` may use {name}, {stem}, {suffix} (of the file we sent), {batch}, and * ? wildcards: `{name}.ack`,
    `{stem}_rejected*`, `{batch}.err`. `reason` "content" reads the reason from it; "name" gives its name as the reason.
    """

    folder: str
    pattern: str
    says: Said
    reason: Literal["content", "name"] = "name"

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)
        if self.says not in {"accepted", "rejected"}:
            raise Unusable(f"an answer says accepted or rejected, not '{self.says}'", hint="correct the answer rule")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptAnswer:
    """A delimited file with a row for each file of ours.

    Columns are named as in its header, or numbered from 1 when `header` is False. With the record columns given,
    accepted + rejected must equal the records sent.
    """

    folder: str
    pattern: str
    name_column: str
    status_column: str
    accepted: frozenset[str]
    rejected: frozenset[str]
    reason_column: str = ""
    accepted_records_column: str = ""
    rejected_records_column: str = ""
    delimiter: str = ","
    header: bool = True
    encoding: str = "utf-8-sig"

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)
        if not self.accepted or self.accepted & self.rejected:
            raise Unusable(
                "a receipt needs values for accepted, others than for rejected", hint="correct the answer rule"
            )
        if self.rejected_records_column and not self.accepted_records_column:
            raise Unusable(
                "rejected_records_column counts nothing without accepted_records_column", hint="name both or neither"
            )
        if self.delimiter in '\r\n"':
            raise Unusable(f"a receipt cannot be delimited by {self.delimiter!r}", hint="for example ',' or ';'")
        try:
            b"a".decode(self.encoding)
        except UnicodeDecodeError:
            pass  # an encoding all the same, such as utf-16
        except (LookupError, ValueError):
            raise Unusable(f"{self.encoding!r} is not an encoding", hint="for example utf-8 or latin-1") from None
        if not self.header:
            columns = [self.name_column, self.status_column, self.reason_column]
            columns += [self.accepted_records_column, self.rejected_records_column]
            if any(column and not column.isdigit() for column in columns):
                raise Unusable("without a header, columns are numbers", hint="the first column is 1")


AnswerRule = FileAnswer | ReceiptAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """A file the partner is to answer for; `records` is checked where the answer counts them."""

    name: str
    records: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVerdict:
    name: str
    says: Literal["accepted", "rejected", "waiting"]
    reason: str = ""
    answer: str = ""  # path of the file that said so


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The batch is acknowledged when every file was accepted, rejected when one was not, else waiting.

    `newest_seconds`: when the last of the answers was written, by the partner's clock; 0 where it has no time.
    """

    says: Literal["acknowledged", "rejected", "waiting"]
    files: tuple[FileVerdict, ...]
    newest_seconds: int = 0

    @property
    def reason(self) -> str:
        return "; ".join(f"{file.name}: {file.reason}" for file in self.files if file.says == "rejected")


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the partner's folders: folder -> name -> content (empty where nobody asked for it)."""

    folders: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


def poll_answers(
    settings: ConnectionSettings,
    rules: Sequence[AnswerRule],
    sent: Sequence[SentFile],
    *,
    batch: str = "",
    after: float = 0,
) -> Verdict:
    """Look once, over one connection, and judge what the partner wrote later than `after`, by its own clock."""
    from delivery.connection import connect  # loads paramiko

    folders: dict[str, dict[str, bytes]] = {}
    newest = 0
    with connect(settings) as connection:
        session = connection.session
        for folder in dict.fromkeys(rule.folder for rule in rules):
            listed = session.run(list_folder(folder))
            written = {name: attributes.modified for name, attributes in listed.items()}
            folders[folder] = {name: b"" for name, at in written.items() if at is None or at > after}
            for rule in rules:
                if rule.folder == folder:
                    names = _matches(rule, folders[folder], sent, batch)
                    newest = max([newest, *(written[name] or 0 for name in names)])
        for rule in rules:
            if isinstance(rule, ReceiptAnswer) or rule.reason == "content":
                for name in sorted(_matches(rule, folders[rule.folder], sent, batch)):
                    path = posixpath.join(rule.folder, name)
                    folders[rule.folder][name] = session.run(read_small(session, path, RECEIPT_BYTES + 1))
    return replace(judge_answers(Found(folders), rules, sent, batch=batch), newest_seconds=newest)


def judge_answers(found: Found, rules: Sequence[AnswerRule], sent: Sequence[SentFile], *, batch: str = "") -> Verdict:
    """Apply the rules in order. A rejection outweighs an acceptance: both at once is a contradiction to look into."""
    said: dict[str, list[FileVerdict]] = {file.name: [] for file in sent}
    for rule in rules:
        names = found.folders.get(rule.folder, {})
        receipts: dict[str, _Receipt] = {}
        for file in sent:
            for name in sorted(_matches(rule, names, [file], batch)):
                path = posixpath.join(rule.folder, name)
                if isinstance(rule, FileAnswer):
                    told = f"the partner's answer is {name}".encode(errors="surrogateescape")
                    reason = _words(names[name] if rule.reason == "content" else told)
                    said[file.name].append(FileVerdict(name=file.name, says=rule.says, reason=reason, answer=path))
                else:
                    if name not in receipts:
                        receipts[name] = _read_receipt(rule, names[name], path)
                    said[file.name] += _judge_receipt(rule, receipts[name], file, path)
    files = tuple(_settle(name, verdicts) for name, verdicts in said.items())
    if any(file.says == "rejected" for file in files):
        return Verdict(says="rejected", files=files)
    if files and all(file.says == "accepted" for file in files):
        return Verdict(says="acknowledged", files=files)
    return Verdict(says="waiting", files=files)


def _settle(name: str, verdicts: list[FileVerdict]) -> FileVerdict:
    for says in ("rejected", "accepted", "waiting"):
        for verdict in verdicts:
            if verdict.says == says:
                return verdict
    return FileVerdict(name=name, says="waiting")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receipt:
    """A receipt as it is there: its rows by the file that they name, or the `fault` that keeps us from reading it.

    `unfinished` is a last row without a line end: the partner may still be writing it.
    """

    rows: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    unfinished: Mapping[str, str] | None = None
    fault: str = ""


def _read_receipt(rule: ReceiptAnswer, content: bytes, path: str) -> _Receipt:
    if len(content) > RECEIPT_BYTES:
        return _Receipt(fault=f"the receipt {path} is larger than {RECEIPT_BYTES:,} bytes")
    try:
        text = content.decode(rule.encoding).removeprefix("\ufeff")
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=rule.delimiter) if row]
    except (UnicodeDecodeError, csv.Error):
        return _Receipt(fault=f"the receipt {path} is not {rule.encoding} text with columns, or not all there yet")
    columns = lines.pop(0) if rule.header and lines else []
    rows: dict[str, list[Mapping[str, str]]] = {}
    values: dict[str, str] = {}
    for line in lines:
        named = (
            zip(columns, line, strict=False) if rule.header else ((str(at), cell) for at, cell in enumerate(line, 1))
        )
        values = {column.strip(): value.strip() for column, value in named}
        rows.setdefault(values.get(rule.name_column, ""), []).append(values)
    return _Receipt(rows=rows, unfinished=None if text.endswith(("\n", "\r")) else values)


def _judge_receipt(rule: ReceiptAnswer, receipt: _Receipt, file: SentFile, path: str) -> list[FileVerdict]:
    def verdict(says: Literal["accepted", "rejected", "waiting"], reason: str = "") -> FileVerdict:
        return FileVerdict(name=file.name, says=says, reason=reason, answer=path)

    if receipt.fault:
        return [verdict("waiting", receipt.fault)]
    verdicts: list[FileVerdict] = []
    for row in receipt.rows.get(file.name, []):
        status = row.get(rule.status_column)
        if row is receipt.unfinished and _is_doubtful(rule, row, file):
            verdicts.append(verdict("waiting", f"the last row of the receipt {path} is not all there yet"))
        elif status in rule.rejected:
            verdicts.append(verdict("rejected", _words(row.get(rule.reason_column, "").encode()) or f"status {status}"))
        elif status not in rule.accepted:
            verdicts.append(verdict("rejected", f"the receipt {path} has the unknown status {status!r}"))
        elif problem := _count_problem(rule, row, file):
            verdicts.append(verdict("rejected", problem))
        else:
            verdicts.append(verdict("accepted"))
    return verdicts


def _is_doubtful(rule: ReceiptAnswer, row: Mapping[str, str], file: SentFile) -> bool:
    """Whether more of this row could make it another answer: a status that is not a word yet, or a count that is too small."""
    status, known = row.get(rule.status_column), rule.accepted | rule.rejected
    if status not in known or any(word != status and word.startswith(status) for word in known):
        return True
    return status in rule.accepted and bool(_count_problem(rule, row, file))


def _count_problem(rule: ReceiptAnswer, values: Mapping[str, str], file: SentFile) -> str:
    if not rule.accepted_records_column or file.records is None:
        return ""
    try:
        accepted = int(values[rule.accepted_records_column])
        rejected = int(values[rule.rejected_records_column]) if rule.rejected_records_column else 0
    except (KeyError, ValueError):
        return "the receipt does not count the records"
    if accepted + rejected != file.records:
        return f"{file.records} records were sent, the receipt counts {accepted} accepted and {rejected} rejected"
    return f"{rejected} of {file.records} records were rejected" if rejected else ""


def _matches(rule: AnswerRule, names: Mapping[str, bytes], sent: Sequence[SentFile], batch: str) -> set[str]:
    matched: set[str] = set()
    for file in sent:
        stem, suffix = posixpath.splitext(file.name)
        values = {"name": file.name, "stem": stem, "suffix": suffix, "batch": batch}
        pattern = rule.pattern.format(**{key: _literal(value) for key, value in values.items()})
        matched.update(name for name in names if fnmatch.fnmatchcase(name, pattern) and name != file.name)
    return matched


def _literal(value: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in value)


def _check_pattern(pattern: str) -> None:
    known = {"name", "stem", "suffix", "batch"}
    try:
        fields = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
        pattern.format(**dict.fromkeys(known, ""))
    except (KeyError, IndexError, ValueError, AttributeError):
        fields = {pattern}
    if fields - known:
        raise Unusable(
            f"the answer pattern '{pattern}' cannot be filled in",
            hint="it may use {name}, {stem}, {suffix} and {batch}",
        )
    if "/" in pattern:
        raise Unusable(f"the answer pattern '{pattern}' holds a '/'", hint="name the folder in `folder`")


def _words(content: bytes) -> str:
    """Turn a partner's text into one safe line: it ends up in logs, mails and pages."""
    text = content[: 4 * _LONGEST_REASON].decode(errors="replace")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + " …"

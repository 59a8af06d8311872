"""The story of one file: look, write under a temporary name, prove it whole, give it its final name, look again.

    STAT final, STAT temporary -> OPEN -> WRITE … FSTAT -> CLOSE -> RENAME, STAT final

Steps that share a line of arrows share a round trip. A file is renamed only after every write was acknowledged, a size
was read back after that, and CLOSE said ok. After a doubtful answer the remote side is looked at before anything is
decided; nothing that might be somebody else's is ever deleted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from delivery import wire
from delivery.errors import (
    DeliveryError,
    FolderMissing,
    Moved,
    NameTaken,
    OpenRefused,
    Outcome,
    ProtocolViolation,
    RemoteFull,
    RemoteReadOnly,
    RemoteRefused,
    RenameRefused,
    SourceChanged,
    Vanished,
    VerificationFailed,
)
from delivery.policy import Policy
from delivery.progress import Acknowledged, Record, Span
from delivery.session import DRAIN, Keep, Session, Step, Story, Write
from delivery.source import Checksum, Prefetch, Source
from delivery.wire import Attributes, Data, Extended, Handle, Reply, Status

Verified = Literal["hash", "sample", "size", "record"]
OPEN_HINT = "ask the partner for their server's log; if it limits open files, set `depth` for this partner"
KEEP_BYTES = 64 << 20  # acknowledged between two records of a big file: what a killed worker may have to send again
_SAMPLE_BYTES = 32768  # what every server must answer in one READ


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One file under way: what to send, where to, and what is known so far (it outlives a broken connection)."""

    source: Source
    policy: Policy
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    intended: bool = False
    outcome: Outcome | None = None
    began: float = 0.0
    final: str = ""
    temporary: str = ""
    in_place: bool = False  # the final name from the first byte

    def __post_init__(self) -> None:
        self.final = self.policy.final(self.source.name)
        self.temporary = self.policy.temporary.path(self.policy.folder, self.source.name, self.source.sha256)
        self.in_place = self.temporary == self.final

    def record(self) -> Record:
        return Record(
            sha256=self.source.sha256,
            acknowledged=self.acknowledged.spans,
            intended=self.intended,
            sent=self.outcome is not None,
        )

    def recall(self, record: Record) -> None:
        """Take over what an earlier worker knew, if it is about the same bytes."""
        if record.sha256 != self.source.sha256 or not record.sha256:
            return
        self.acknowledged = Acknowledged(record.acknowledged)
        self.intended = record.intended
        if record.sent:
            self.end("already there", "record")

    def end(self, state: Literal["sent", "already there"], verified: Verified) -> Outcome:
        self.outcome = Outcome(
            name=self.source.name,
            bytes=self.source.size,
            sha256=self.source.sha256,
            state=state,
            verified=verified,
            temporary_name="" if self.in_place else self.temporary,
            seconds=time.monotonic() - self.began if self.began else 0.0,
        )
        return self.outcome


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to write, and how to open the temporary file.

    `cut`: a longer file is there. A shorter one is not cut: all of it is written over, and another worker may be at
    the same file with the same bytes. `create`: False where a file was seen, so that one which a late rename of a dead
    worker takes away between look and open is not begun, and delivered, a second time.
    """

    spans: Sequence[Span]
    cut: bool = False
    create: bool = True


def send(job: Job, session: Session, pool: ThreadPoolExecutor) -> Story[Outcome]:
    """Deliver one file over one connection."""
    plan = yield from prepare(job, session)
    if isinstance(plan, Outcome):
        return plan
    checksum = Checksum(job.source, pool)
    with Prefetch(job.source, plan.spans, pool) as pieces:
        yield from write(job, session, pieces, plan, checksum=checksum, whole=True)
    if not checksum.is_right():
        # What is there must never be continued: nobody would look at those bytes again.
        job.acknowledged.clear()
        yield [wire.remove(job.temporary)]
        raise SourceChanged(
            f"{job.source.name}: the bytes sent are not those on record",
            hint="the sealed file was changed after it was sealed; seal the batch again",
        )
    return (yield from publish(job, session))


# --- look ---


def prepare(job: Job, session: Session) -> Generator[Step, Any, Plan | Outcome]:
    """Find out what is there already: all of it, a part that can be continued, or nothing."""
    if job.outcome is not None:
        return job.outcome
    job.began = job.began or time.monotonic()
    size = job.source.size
    if job.in_place:
        final = temporary = yield from stat(job.final)
    else:
        final, temporary = yield from stats(job.final, job.temporary)
    if final is not None and final.size == size:
        verified = yield from is_same(job, session, job.final)
        if verified is not None:
            yield from mark(job)
            if temporary is not None and not job.in_place:
                yield [wire.remove(job.temporary)]  # ours by its name, and no longer needed
            return job.end("already there", verified)
    if (
        final is not None
        and job.policy.overwrite == "never"
        and not (job.in_place and (yield from is_ours(job, final)))
    ):
        raise NameTaken(
            f"{job.final}: another file of {_bytes(final.size)} has this name; ours has {_bytes(size)}",
            hint="ask the partner; send a correction as a new revision, or allow `overwrite: replace` for this feed",
        )
    if job.intended and final is None and temporary is None:
        yield from gone(job)
        yield from mark(job)
        return job.end("sent", "size")
    if temporary is not None and (yield from can_resume(job, temporary)):
        return Plan(job.acknowledged.missing(size), create=False)
    job.acknowledged.clear()
    longer = temporary is not None and (temporary.size is None or temporary.size > size)
    return Plan([(0, size)] if size else [], cut=longer, create=temporary is None)


def is_same(job: Job, session: Session, path: str) -> Generator[Step, Any, Verified | None]:
    """Compare a remote file of the right size with ours, as far as the server lets us read: None = it differs."""
    if (job.policy.verify == "hash" or job.in_place) and job.source.sha256:
        # A file written in place may have its full size and still a hole: there, only reading all of it will do.
        digest = yield from remote_hash(session, path, job.source.size, job.source.sha256)
        if digest is not None:
            return "hash" if digest == job.source.sha256 else None
    if job.in_place and job.acknowledged.total and job.acknowledged.missing(job.source.size):
        return None  # nobody can read all of it, and our own record shows the hole
    same = yield from samples_match(job, path, [(0, job.source.size)])
    if same is None:
        return "size"
    return "sample" if same else None


def is_ours(job: Job, final: Attributes) -> Generator[Step, Any, bool]:
    """Whether a shorter file under the final name is our own broken upload (only asked when writing in place).

    Its beginning shows it: every sealed file begins with its own key. Where it cannot be read, our record must know of it.
    """
    if final.size is None or final.size > job.source.size:
        return False
    same = yield from samples_match(job, job.final, [(0, min(final.size, _SAMPLE_BYTES))])
    return job.acknowledged.total > 0 if same is None else same


def can_resume(job: Job, temporary: Attributes) -> Generator[Step, Any, bool]:
    """Whether the acknowledged spans are still what we sent: long enough, and equal where we look.

    The size of the remote file says nothing: a refused or reordered write leaves a hole of zeros below it.
    """
    spans = job.acknowledged.spans
    if not job.policy.resume or not spans or temporary.size is None:
        return False
    if not spans[-1][1] <= temporary.size <= job.source.size:
        return False
    return bool((yield from samples_match(job, job.temporary, spans)))


def samples_match(job: Job, path: str, spans: Iterable[Span]) -> Generator[Step, Any, bool | None]:
    """Compare the first and last block of each span with the remote file; None when it cannot be read."""
    blocks = sorted({block for start, end in spans if end > start for block in _ends(start, end)})
    if not blocks:
        return True
    (opened,) = yield [wire.open_file(path, wire.FOR_READING)]
    if not isinstance(opened, Handle):
        return None
    replies = yield [wire.read(opened.value, start, end - start) for start, end in blocks]
    yield [wire.close(opened.value)]
    for (start, end), reply in zip(blocks, replies, strict=True):
        if isinstance(reply, Status) and reply.code != wire.EOF:
            return None
        data = reply.data if isinstance(reply, Data) else b""
        if not data or data != job.source.read(start, end - start)[: len(data)]:
            return False
    return True


def remote_hash(session: Session, path: str, size: int, expected: str) -> Generator[Step, Any, str | None]:
    """Hash all of a remote file: by the server where it can, else by reading it back; None where it does neither.

    A server's word is enough to find that all is well; before it makes a delivery red, the file is read.
    """
    told = None
    if session.offers("check-file"):
        (reply,) = yield [wire.check_file(path)]
        told = wire.parse_check_file(reply) if isinstance(reply, Extended) else None
    if told == expected:
        return told
    return (yield from read_back(session, path, size)) or told


def read_back(session: Session, path: str, size: int) -> Generator[Step, Any, str | None]:
    """Hash all of a remote file; None when the server does not let us read it."""
    (opened,) = yield [wire.open_file(path, wire.FOR_READING)]
    if not isinstance(opened, Handle):
        return None
    digest = hashlib.sha256()
    at, length = 0, session.read_bytes
    while at < size:
        starts = range(at, min(size, at + 16 * length), length)
        replies = yield [wire.read(opened.value, start, min(length, size - start)) for start in starts]
        for start, reply in zip(starts, replies, strict=True):
            data = reply.data if isinstance(reply, Data) else b""
            while len(data) < min(length, size - start):  # a server may answer with less than was asked
                (more,) = yield [wire.read(opened.value, start + len(data), min(length, size - start) - len(data))]
                if not isinstance(more, Data) or not more.data:
                    yield [wire.close(opened.value)]
                    return None
                data += more.data
            digest.update(data)
        at = min(size, at + 16 * length)
    yield [wire.close(opened.value)]
    return digest.hexdigest()


# --- write ---


def write(
    job: Job,
    session: Session,
    pieces: Iterable[tuple[int, bytes]],
    plan: Plan,
    *,
    checksum: Checksum | None = None,
    whole: bool,
) -> Generator[Step, Any, None]:
    """Write pieces to the temporary name; with `whole`, prove the size before closing."""
    flags = wire.FOR_WRITING | (wire.CREATE if plan.create else 0) | (wire.TRUNCATE if plan.cut else 0)
    (opened,) = yield [wire.open_file(job.temporary, flags, job.policy.permissions)]
    if not isinstance(opened, Handle):
        if not plan.create and isinstance(opened, Status) and opened.is_missing:
            raise Moved(f"{job.temporary} has disappeared", hint="another worker may have renamed it: look again")
        raise (yield from cause_at_open(opened, session, job, f"cannot create {job.temporary}"))
    handle, kept = opened.value, job.acknowledged.total
    try:
        for offset, data in pieces:
            if checksum is not None:
                checksum.add(offset, data)
            if job.acknowledged.total - kept >= KEEP_BYTES:
                kept = job.acknowledged.total
                yield Keep(job.source.name)
            view = memoryview(data)
            for at in range(0, len(view), session.write_bytes):
                yield Write(handle, offset + at, view[at : at + session.write_bytes], job.acknowledged.add)
        if whole:
            yield from prove_size(job, handle)
        else:
            yield DRAIN
        if whole and job.policy.permissions is not None:
            (reply,) = yield [wire.set_permissions(handle, job.policy.permissions)]
            expect_ok(reply, f"cannot set permissions of {job.temporary}")
        if whole and job.policy.fsync and session.offers("fsync@openssh.com"):
            (reply,) = yield [wire.fsync(handle)]
            expect_ok(reply, f"cannot flush {job.temporary} to the server's disk")
        if whole and job.in_place:
            yield from intend(job)
    except DeliveryError as error:
        yield [wire.close(handle)]
        if isinstance(error, RemoteRefused) and type(error) is RemoteRefused:
            raise (yield from cause(None, session, job, f"{job.temporary}: {error}")) from error
        raise
    (reply,) = yield [wire.close(handle)]
    if not _is_ok(reply):
        raise (yield from cause(reply, session, job, f"cannot finish {job.temporary}"))


def prove_size(job: Job, handle: bytes) -> Generator[Step, Any, None]:
    """FSTAT travels with the last writes; its size counts only when all of them were acknowledged as well."""
    (reply,) = yield [wire.fstat(handle)]
    yield DRAIN
    assert job.acknowledged.missing(job.source.size) == [], "a write was neither acknowledged nor refused"
    if isinstance(reply, Attributes) and reply.size == job.source.size:
        return
    (reply,) = yield [wire.fstat(handle)]  # some servers answer before they have taken the writes that came earlier
    if not isinstance(reply, Attributes) or reply.size is None:  # others know the size by its name only
        (reply,) = yield [wire.stat(job.temporary)]
    if not isinstance(reply, Attributes) or reply.size != job.source.size:
        found = _bytes(reply.size) if isinstance(reply, Attributes) else str(reply)
        raise VerificationFailed(
            f"{job.temporary}: {_bytes(job.source.size)} were sent and acknowledged, the server shows {found}",
            hint="the partner's server changes or loses data; ask them before sending again",
        )


# --- publish ---


def publish(job: Job, session: Session) -> Generator[Step, Any, Outcome]:
    """Verify, give the final name, look again, mark."""
    verified: Verified = "size"
    if job.policy.verify == "hash" and job.source.sha256:
        digest = yield from remote_hash(session, job.temporary, job.source.size, job.source.sha256)
        if digest is None:
            raise VerificationFailed(
                f"{job.temporary}: the server neither hashes the file nor lets us read it back",
                hint="set `verify: size` for this partner, or ask for the right to read",
            )
        if digest != job.source.sha256:
            yield [wire.remove(job.temporary)]
            job.acknowledged.clear()
            raise VerificationFailed(
                f"{job.temporary}: the server holds other bytes than were sent",
                hint="the partner's disk or server is broken",
            )
        verified = "hash"
    if not job.in_place:
        first_time = not job.intended
        yield from intend(job)
        yield from give_final_name(job, session, first_time=first_time)
    yield from mark(job)
    return job.end("sent", verified)


def intend(job: Job) -> Generator[Step, Any, None]:
    """Put on record that the file is whole and about to be the partner's: from now on it may be taken at any time."""
    job.intended = True
    yield Keep(job.source.name)


def give_final_name(job: Job, session: Session, *, first_time: bool) -> Generator[Step, Any, None]:
    """Rename a whole file to its final name; another file there stays."""
    request = wire.rename(job.temporary, job.final)
    if job.policy.overwrite == "replace" and session.offers("posix-rename@openssh.com"):
        request = wire.posix_rename(job.temporary, job.final)
    if not job.policy.confirm:
        (reply,) = yield [request]
        if _is_ok(reply):
            return
        final, temporary = yield from stats(job.final, job.temporary)
    else:
        reply, seen = yield [request, wire.stat(job.final)]
        if _is_ok(reply) and isinstance(seen, Attributes) and seen.size == job.source.size:
            return
        # Either the rename was refused, or the two were answered in another order: look again.
        final, temporary = yield from stats(job.final, job.temporary)
    if first_time and final is None and temporary is None and isinstance(reply, Status) and reply.is_missing:
        # No earlier attempt can have renamed it: it was gone before this one, so the partner does not have it.
        yield from expect_folder(job)
        job.intended = False
        job.acknowledged.clear()
        yield Keep(job.source.name)
        raise Vanished(
            f"{job.temporary}: complete, and gone before it could be renamed",
            hint="does a job at the partner take or delete temporary files? agree on another `temporary` rule",
        )
    yield from judge_rename(job, session, reply, final, temporary)


def judge_rename(
    job: Job, session: Session, reply: Reply, final: Attributes | None, temporary: Attributes | None
) -> Generator[Step, Any, None]:
    """Decide by what is there, not by what the server said: an error may hide a rename that happened."""
    if temporary is None and final is None:
        yield from gone(job)
        return
    if final is not None and temporary is None:
        if final.size not in {None, job.source.size}:
            raise VerificationFailed(
                f"{job.final}: {_bytes(final.size)} after the rename, {_bytes(job.source.size)} were sent",
                hint="the partner's server changes files as they arrive; ask them",
            )
        return
    if final is not None:
        same = final.size == job.source.size and (yield from is_same(job, session, job.final)) is not None
        if same:
            yield [wire.remove(job.temporary)]
            return
        if job.policy.overwrite == "replace":
            # No atomic replacement on this server: for a moment nothing has the final name.
            replies = yield [wire.remove(job.final)]
            replies += yield [wire.rename(job.temporary, job.final)]
            if all(_is_ok(one) for one in replies):
                return
            raise RenameRefused(
                f"{job.final} cannot be replaced: {replies[-1]}", hint="ask for the right to delete there"
            )
        raise NameTaken(
            f"{job.final}: another file of {_bytes(final.size)} took this name meanwhile",
            hint="ask the partner who sends it",
        )
    if _is_ok(reply):
        raise Vanished(f"{job.final}: the server said it renamed the file, but did not", hint="ask the partner")
    raise RenameRefused(
        f"{job.temporary} is complete, but may not be renamed to {job.final}: {reply}",
        hint="ask for the right to rename, or set `temporary` to none for this partner (with a marker or the manifest last)",
    )


def gone(job: Job) -> Generator[Step, Any, None]:
    """Neither name is there after the rename was on its way: the partner's server has taken the file, or the folder."""
    yield from expect_folder(job)
    if job.policy.confirm:
        raise Vanished(
            f"{job.final}: complete and renamed, but disappeared",
            hint="if the partner takes files away at once, set `confirm: false`; otherwise ask what happened to it",
        )


def expect_folder(job: Job) -> Generator[Step, Any, None]:
    """Raise FolderMissing when the partner's folder is gone."""
    if (yield from stat(job.policy.folder)) is None:
        raise FolderMissing(
            f"the folder {job.policy.folder} is gone, and {job.source.name} with it",
            hint="ask the partner whether it was moved or renamed, and what became of the files in it",
        )


def mark(job: Job) -> Generator[Step, Any, None]:
    """Make the empty marker beside the file, for partners that wait for one."""
    if not job.policy.marker:
        return
    path = job.final + job.policy.marker
    (opened,) = yield [wire.open_file(path, wire.FOR_WRITING | wire.CREATE, job.policy.permissions)]
    if not isinstance(opened, Handle):
        raise OpenRefused(f"cannot create the marker {path}: {opened}", hint=OPEN_HINT)
    (reply,) = yield [wire.close(opened.value)]
    expect_ok(reply, f"cannot create the marker {path}")


# --- small steps ---


def stat(path: str) -> Generator[Step, Any, Attributes | None]:
    """Attributes of a path, None when nothing is there."""
    (reply,) = yield [wire.stat(path)]
    return _attributes(path, reply)


def stats(*paths: str) -> Generator[Step, Any, list[Attributes | None]]:
    """Return the attributes of several paths, None for one that is not there."""
    replies = yield [wire.stat(path) for path in paths]
    return [_attributes(path, reply) for path, reply in zip(paths, replies, strict=True)]


def space(session: Session, folder: str) -> Generator[Step, Any, wire.Space | None]:
    """Free space where the server reports it; a server without real figures (0 blocks) reports none."""
    if not session.offers("statvfs@openssh.com"):
        return None
    (reply,) = yield [wire.statvfs(folder)]
    if not isinstance(reply, Extended) or len(reply.data) < 88:
        return None
    found = wire.parse_space(reply)
    return found if found.total_bytes else None


def cause(reply: Reply | None, session: Session, job: Job, what: str) -> Generator[Step, Any, DeliveryError]:
    """Find the reason behind a refusal: version 3 answers a full disk and much else with a bare "failure"."""
    message = f"{what}: {reply}" if reply is not None else what
    folder = job.policy.folder
    words = message.lower()
    code = reply.code if isinstance(reply, Status) else None
    if (isinstance(reply, Status) and reply.is_missing) or "no such file" in words:
        return FolderMissing(
            message, hint="has the partner moved or renamed the folder? ./sealift partner check shows more"
        )
    if code == wire.PERMISSION_DENIED or "permission denied" in words or "read-only" in words:
        return RemoteReadOnly(message, hint="ask the partner for the right to write in this folder")
    found = yield from space(session, folder)
    left = job.source.size - job.acknowledged.total
    if found is not None and found.read_only:
        return RemoteReadOnly(message, hint="the partner's file system is mounted read-only; ask them")
    if "no space" in words or "quota" in words or (found is not None and found.free_bytes < left):
        free = f"; {_bytes(found.free_bytes)} are free" if found is not None else ""
        return RemoteFull(
            message + free, hint="ask the partner to make room, then deliver again: it goes on where it stopped"
        )
    return RemoteRefused(message, hint="ask the partner what their server's log says")


def cause_at_open(reply: Reply, session: Session, job: Job, what: str) -> Generator[Step, Any, DeliveryError]:
    """Find the reason why a file was not opened; a bare "failure" may mean that too many are open."""
    found = yield from cause(reply, session, job, what)
    return OpenRefused(found.message, hint=OPEN_HINT) if type(found) is RemoteRefused else found


def expect_ok(reply: Reply, what: str) -> None:
    """Raise RemoteRefused unless the server said that it is done."""
    if not _is_ok(reply):
        raise RemoteRefused(f"{what}: {reply}", hint="ask the partner what their server's log says")


def _attributes(path: str, reply: Reply) -> Attributes | None:
    if isinstance(reply, Attributes):
        return reply
    if isinstance(reply, Status) and reply.is_missing:
        return None
    if isinstance(reply, Status):
        raise RemoteReadOnly(
            f"cannot look at {path}: {reply}", hint="ask the partner for the right to list this folder"
        )
    raise ProtocolViolation(f"the server answered STAT of {path} with {type(reply).__name__}")


def _is_ok(reply: Reply | None) -> bool:
    return isinstance(reply, Status) and reply.code == wire.OK


def _ends(start: int, end: int) -> tuple[Span, Span]:
    return (start, min(end, start + _SAMPLE_BYTES)), (max(start, end - _SAMPLE_BYTES), end)


def _bytes(size: int | None) -> str:
    return "an unknown number of bytes" if size is None else f"{size:,} bytes"

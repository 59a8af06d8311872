"""SFTP over one channel, with many requests in flight.

What is to be done with one file is a *story*: a generator that yields steps and is resumed with their answers, so that
it reads from top to bottom like blocking code. `Session.run_all` runs many stories at once on one channel: while one
waits for its answer, the others send. A step is one of

    [request, …]   send them all, resume with the list of replies when the last one came
    Write(…)       send data; resume at once when the byte window has room, the acknowledgement is checked later
    DRAIN          resume when all of this story's writes are acknowledged; raises RemoteRefused if one was not
    Keep(key)      resume after what is known about `key` is on record; many stories share one record

Every reply is matched by its number and every status is looked at. Nothing here knows what a delivery is.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from delivery import wire
from delivery.errors import DeliveryError, ProtocolViolation, RemoteRefused
from delivery.wire import Extended, Limits, Reply, Request, Status

if TYPE_CHECKING:  # they load paramiko; stories are defined without a connection
    from delivery.packets import Buffer
    from delivery.pipe import Pipe

T = TypeVar("T")

WINDOW_BYTES = 4 << 20
MAXIMUM_REQUESTS = 256  # in flight; small servers keep a fixed table
_DEFAULT_WRITE = 32768  # what every SFTP server must take
_LARGEST_WRITE = 255 << 10


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes of an open file; `acknowledged(start, end)` is called once the server has confirmed them."""

    handle: bytes
    offset: int
    data: bytes | memoryview
    acknowledged: Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Keep:
    """Put what is known on record before going on."""

    key: str


class _Drain:
    pass


DRAIN = _Drain()
Step = Sequence[Request] | Write | Keep | _Drain
Story = Generator[Step, Any, T]


@dataclass(slots=True, eq=False)
class _Task(Generic[T]):
    story: Story[T]
    weight: int
    done: Callable[[T | DeliveryError], None]
    missing: int = 0  # replies of the current step still to come
    replies: list[Reply | None] = field(default_factory=list)
    unacknowledged: int = 0
    draining: bool = False
    refused: Status | None = None


@dataclass(frozen=True, slots=True)
class _Sent:
    task: _Task[Any]
    place: int  # index among the replies of the step; for a write its length
    offset: int = 0
    acknowledged: Callable[[int, int], None] | None = None  # of a write; its data is not held until the answer comes


class Session:
    """The SFTP protocol on one channel; used by one thread at a time."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._decoder = wire.Decoder()
        self._number = 0
        self._pending: dict[int, _Sent] = {}
        self._in_flight_bytes = 0
        self._outgoing: list[Buffer] = []
        self._outgoing_bytes = 0
        self.extensions = self._greet()
        self.limits = self._ask_limits()
        self.write_bytes = self._choose_write_bytes()
        self.read_bytes = min(self.limits.read_bytes or _DEFAULT_WRITE, _LARGEST_WRITE)

    def offers(self, extension: str) -> bool:
        return extension in self.extensions

    def run(self, story: Story[T], *, record: Callable[[list[str]], None] | None = None) -> T:
        """Run one story and return what it returns."""
        results: list[T | DeliveryError] = []
        self.run_all([(0, story, results.append)], record=record)
        (result,) = results
        if isinstance(result, DeliveryError):
            raise result
        return result

    def run_all(
        self,
        stories: Iterable[tuple[int, Story[T], Callable[[T | DeliveryError], None]]],
        *,
        depth: int = 1,
        budget_bytes: int = 0,
        record: Callable[[list[str]], None] | None = None,
    ) -> None:
        """Run all stories, at most `depth` at once; each comes as (weight in bytes, story, what to do with its end).

        A story that raises ends with its DeliveryError and the others go on; a broken connection ends them all and is
        raised here. The weights of the stories that run at once stay within `budget_bytes`, unless one alone exceeds it.
        """
        _Run(self, iter(stories), depth=depth, budget_bytes=budget_bytes, record=record).tell()

    # --- the wire: used by _Run only ---

    def send_request(self, request: Request, sent: _Sent) -> None:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._pending[self._number] = sent
        self._queue(wire.packet(request, self._number))

    def send_write(self, write: Write, task: _Task[Any]) -> None:
        self._number = (self._number + 1) & 0xFFFFFFFF
        length = len(write.data)
        self._pending[self._number] = _Sent(task, length, write.offset, write.acknowledged)
        self._in_flight_bytes += length
        self._queue(wire.write_head(self._number, write.handle, write.offset, length), write.data)

    def has_room(self, length: int) -> bool:
        if len(self._pending) >= MAXIMUM_REQUESTS:
            return False
        return self._in_flight_bytes == 0 or self._in_flight_bytes + length <= WINDOW_BYTES

    @property
    def is_waiting(self) -> bool:
        return bool(self._pending)

    def receive(self) -> Iterator[tuple[_Sent, Reply]]:
        """Flush, block until the server sends something, and hand out the replies that came."""
        self.flush()
        for payload in self._read():
            number, reply = wire.parse_reply(payload)
            sent = self._pending.pop(number, None)
            if sent is None:
                raise ProtocolViolation(f"the server answered request {number}, which was not sent")
            if sent.acknowledged is not None:
                self._in_flight_bytes -= sent.place
            yield sent, reply

    def flush(self) -> None:
        if self._outgoing:
            buffers, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
            self._pipe.send(buffers)

    def _queue(self, *packet: Buffer) -> None:
        # Small requests of many stories share an SSH packet; big writes go out as they are.
        self._outgoing += packet
        self._outgoing_bytes += sum(map(len, packet))
        if self._outgoing_bytes >= self._pipe.payload_bytes:
            self.flush()

    def _read(self) -> list[bytes]:
        packets: list[bytes] = []
        while not packets:
            packets = self._decoder.feed(self._pipe.receive())
        return packets

    def _greet(self) -> dict[str, bytes]:
        self._pipe.send([wire.hello()])
        first, *rest = self._read()
        if rest:
            raise ProtocolViolation("the server answered before it got a request")
        return wire.parse_version(first)

    def _ask_limits(self) -> Limits:
        if not self.offers("limits@openssh.com"):
            return Limits()

        def story() -> Story[Limits]:
            (reply,) = yield [wire.limits()]
            try:
                return wire.parse_limits(reply) if isinstance(reply, Extended) else Limits()
            except struct.error:
                return Limits()

        return self.run(story())

    def _choose_write_bytes(self) -> int:
        # A write that ends where an SSH packet ends wastes no packet on its tail; handles are 4 bytes on OpenSSH.
        largest = min(self.limits.write_bytes or _DEFAULT_WRITE, _LARGEST_WRITE)
        overhead = wire.write_overhead(b"\0" * 4)
        packets = (largest + overhead) // self._pipe.payload_bytes
        return packets * self._pipe.payload_bytes - overhead if packets else largest


class _Run(Generic[T]):
    def __init__(
        self,
        session: Session,
        stories: Iterator[tuple[int, Story[T], Callable[[T | DeliveryError], None]]],
        *,
        depth: int,
        budget_bytes: int,
        record: Callable[[list[str]], None] | None,
    ) -> None:
        self._session = session
        self._stories: Iterator[tuple[int, Story[T], Callable[[T | DeliveryError], None]]] | None = stories
        self._next: _Task[T] | None = None
        self._depth = depth
        self._budget = budget_bytes
        self._record = record
        self._active: set[_Task[T]] = set()
        self._weight = 0
        self._ready: deque[tuple[_Task[T], Any]] = deque()
        self._blocked: deque[tuple[_Task[T], Write]] = deque()
        self._keeps: list[tuple[_Task[T], str]] = []

    def tell(self) -> None:
        try:
            while True:
                self._admit()
                while self._ready:
                    self._advance(*self._ready.popleft())
                    self._admit()
                if self._keeps and (2 * len(self._keeps) >= len(self._active) or not self._session.is_waiting):
                    self._keep()
                elif self._session.is_waiting:
                    for sent, reply in self._session.receive():
                        self._take(sent, reply)
                    self._unblock()
                elif not self._active:
                    return
        finally:
            for task in self._active:
                task.story.close()

    def _admit(self) -> None:
        while len(self._active) < self._depth:
            if self._next is None and self._stories is not None:
                following = next(self._stories, None)
                if following is None:
                    self._stories = None
                else:
                    self._next = _Task(following[1], following[0], following[2])
            task = self._next
            if task is None or (self._active and self._weight + task.weight > self._budget):
                return
            self._next = None
            self._active.add(task)
            self._weight += task.weight
            self._ready.append((task, None))

    def _advance(self, task: _Task[T], value: Any) -> None:
        try:
            if task.refused is not None and value is None:
                refused, task.refused = task.refused, None
                step = task.story.throw(RemoteRefused(f"write refused: {refused}"))
            else:
                step = task.story.send(value)
        except StopIteration as end:
            self._finish(task, end.value)
        except DeliveryError as error:
            self._finish(task, error)
        else:
            self._start(task, step)

    def _start(self, task: _Task[T], step: Step) -> None:
        if isinstance(step, Write):
            if self._session.has_room(len(step.data)) and not self._blocked:
                self._write(task, step)
            else:
                self._blocked.append((task, step))
        elif isinstance(step, _Drain):
            task.draining = True
            self._wake_if_drained(task)
        elif isinstance(step, Keep):
            if self._record is None:
                self._ready.append((task, None))
            else:
                self._keeps.append((task, step.key))
        else:
            task.missing = len(step)
            task.replies = [None] * len(step)
            for place, request in enumerate(step):
                self._session.send_request(request, _Sent(task, place))

    def _write(self, task: _Task[T], write: Write) -> None:
        task.unacknowledged += 1
        self._session.send_write(write, task)
        self._ready.append((task, None))

    def _unblock(self) -> None:
        while self._blocked and self._session.has_room(len(self._blocked[0][1].data)):
            self._write(*self._blocked.popleft())

    def _take(self, sent: _Sent, reply: Reply) -> None:
        task = sent.task
        if sent.acknowledged is not None:
            task.unacknowledged -= 1
            if isinstance(reply, Status) and reply.code == wire.OK:
                sent.acknowledged(sent.offset, sent.offset + sent.place)
            elif task.refused is None:
                task.refused = reply if isinstance(reply, Status) else Status(wire.BAD_MESSAGE)
            self._wake_if_drained(task)
            return
        task.replies[sent.place] = reply
        task.missing -= 1
        if task.missing == 0:
            self._ready.append((task, task.replies))

    def _wake_if_drained(self, task: _Task[T]) -> None:
        if task.draining and task.unacknowledged == 0:
            task.draining = False
            self._ready.append((task, None))

    def _keep(self) -> None:
        assert self._record is not None
        keeps, self._keeps = self._keeps, []
        self._record([key for _, key in keeps])
        self._ready.extend((task, None) for task, _ in keeps)

    def _finish(self, task: _Task[T], result: T | DeliveryError) -> None:
        self._active.discard(task)
        self._weight -= task.weight
        task.done(result)

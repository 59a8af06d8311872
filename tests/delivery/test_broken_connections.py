"""Connections that drop, stall or are limited: each file is there once and whole in the end, or the delivery is red."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from delivery_servers import AsyncSsh, OpenSsh, Relay, policy_for, wait_until
from fault_sources import BIG, Counting, HeldBack, Server, big, content, found, small

from delivery import (
    BytesSource,
    ConnectionLost,
    DeadlinePassed,
    DeliveryError,
    Policy,
    Stalled,
    Unreachable,
    deliver,
)

# --- dropped, stalled, killed ---


def test_a_dropped_connection_is_taken_up_where_it_stopped(server: Server, relay: Relay, policy: Policy) -> None:
    source = Counting(big())
    relay.cut_after, relay.cuts = BIG // 2 + 1000, 1

    deliver([source], settings=server.settings(port=relay.port), policy=policy)

    assert found(server) == content([source])
    assert relay.accepted == 2
    assert relay.from_client < BIG * 1.4  # a restart would send half of it twice


def test_many_drops_end_in_one_whole_file(server: Server, relay: Relay, policy: Policy) -> None:
    source = big()
    relay.cut_after = 6 << 20

    deliver([source], settings=server.settings(port=relay.port), policy=policy)

    assert found(server) == content([source])
    assert relay.accepted >= 4


def test_many_small_files_survive_drops(server: Server, relay: Relay, policy: Policy) -> None:
    sources, last = small(300), [BytesSource("manifest.json", b"{}")]
    relay.cut_after, relay.cuts = 1_500_000, 8

    outcomes = deliver(sources, last, settings=server.settings(port=relay.port), policy=policy)

    assert found(server) == content([*sources, *last])
    assert len(outcomes) == 301
    assert relay.cuts < 8


def test_a_server_that_drops_every_connection_at_once_is_given_up(server: Server, relay: Relay, policy: Policy) -> None:
    relay.cut_after = 0
    waits: list[float] = []

    with pytest.raises(DeliveryError) as caught:
        deliver(small(1), settings=server.settings(port=relay.port), policy=policy, sleep=waits.append)

    assert caught.value.transient
    assert len(waits) == policy.attempts - 1
    assert waits[-1] > waits[0]  # back-off
    assert found(server) == {}


def test_a_file_begun_anew_each_time_is_given_up(asyncssh_server: AsyncSsh) -> None:
    relay = Relay(asyncssh_server.port)
    # It comes less far, then further again, which is not progress: endless tries would use this up.
    cuts = iter([3_000_000, 8_000_000] * 10)

    def cut_elsewhere(_: float) -> None:
        relay.cut_after = next(cuts)

    source = big(16_000_000)
    relay.cut_after = 14_000_000
    policy = policy_for(asyncssh_server, resume=False, attempts=4)

    try:
        with pytest.raises(ConnectionLost):
            deliver([source], settings=asyncssh_server.settings(port=relay.port), policy=policy, sleep=cut_elsewhere)
    finally:
        relay.stop()


def test_a_stalled_connection_is_cut_and_taken_up(server: Server, relay: Relay, policy: Policy) -> None:
    source = big()
    relay.stall_after = BIG // 3

    def unstall(_: float) -> None:
        relay.stall_after = None

    began = time.monotonic()
    deliver([source], settings=server.settings(port=relay.port, stall_seconds=0.5), policy=policy, sleep=unstall)

    assert found(server) == content([source])
    assert time.monotonic() - began < 60


def test_a_server_that_stops_reading_is_a_stall(openssh_server: OpenSsh) -> None:
    # SIGSTOP fills the TCP buffers: the case that no timeout of the channel covers.
    stopped: list[int] = []
    source = HeldBack(big(100 << 20))

    def stop_once_it_runs() -> None:
        wait_until(lambda: any(openssh_server.files.iterdir()))
        for pid in subprocess.run(
            ["pgrep", "-f", f"sshd: {openssh_server.user}"], capture_output=True, text=True
        ).stdout.split():
            if int(pid) in descendants(openssh_server):
                os.kill(int(pid), signal.SIGSTOP)
                stopped.append(int(pid))
        source.go_on.set()

    stopper = threading.Thread(target=stop_once_it_runs)
    stopper.start()
    try:
        with pytest.raises(Stalled):
            deliver(
                [source],
                settings=openssh_server.settings(stall_seconds=1.0, connect_seconds=3.0),
                policy=policy_for(openssh_server, attempts=1),
            )
    finally:
        stopper.join()
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
    assert stopped
    assert "big.sealed" not in found(openssh_server)


def descendants(server: OpenSsh) -> set[int]:
    todo, seen = server.sessions(), set()
    while todo:
        pid = todo.pop()
        seen.add(pid)
        listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
        todo += [int(line) for line in listed.split()]
    return seen


def test_a_server_that_is_restarted_gets_the_rest(server: Server, relay: Relay, policy: Policy) -> None:
    source = big()
    relay.cut_after, relay.cuts = BIG // 2, 1

    def restart(_: float) -> None:
        server.stop()
        server.start()

    deliver([source], settings=server.settings(port=relay.port), policy=policy, sleep=restart)

    assert found(server) == content([source])


def test_the_deadline_ends_a_slow_delivery(server: Server, relay: Relay) -> None:
    relay.stall_after = 1 << 20
    began = time.monotonic()

    with pytest.raises(DeadlinePassed) as caught:
        deliver(
            [big()],
            settings=server.settings(port=relay.port),
            policy=policy_for(server, deadline_seconds=1.0),
        )

    assert time.monotonic() - began < 30
    assert caught.value.status == 504


def test_a_host_that_comes_back_in_time_is_served(server: Server, policy: Policy) -> None:
    server.stop()
    sources = small(3)

    def start(_: float) -> None:
        server.start()

    deliver(sources, settings=server.settings(), policy=policy, sleep=start)

    assert found(server) == content(sources)


def test_a_host_that_stays_away_is_unreachable(server: Server, policy: Policy) -> None:
    settings = server.settings()
    server.stop()

    with pytest.raises(Unreachable):
        deliver(small(1), settings=settings, policy=policy, sleep=lambda _: None)

    server.start()


# --- limits ---


def test_a_server_that_limits_connections_gets_fewer(server: Server, relay: Relay) -> None:
    relay.most_connections = 2
    source = big(60 << 20)

    deliver(
        [source],
        settings=server.settings(port=relay.port),
        policy=policy_for(server, connections=6, split_bytes=1 << 20),
    )

    assert found(server) == content([source])


def test_a_server_with_no_connection_left_is_busy_until_one_is_free(
    server: Server, relay: Relay, policy: Policy
) -> None:
    relay.most_connections = 0
    sources, waits = small(2), []

    def free(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            relay.most_connections = 1

    deliver(sources, settings=server.settings(port=relay.port), policy=policy, sleep=free)

    assert found(server) == content(sources)
    assert len(waits) == 3


def test_the_limit_of_a_real_sshd_is_respected(tmp_path: Path, openssh_server: OpenSsh) -> None:
    openssh_server.stop()
    openssh_server.more = "MaxStartups 1:100:1\nMaxSessions 1"
    openssh_server.start()
    source = big(60 << 20)

    deliver(
        [source],
        settings=openssh_server.settings(),
        policy=policy_for(openssh_server, connections=8, split_bytes=1 << 20),
    )

    assert found(openssh_server) == content([source])


def test_helpers_that_break_only_make_it_slower(server: Server, relay: Relay) -> None:
    relay.cut_after = 20 << 20
    source = big(100 << 20)
    policy = policy_for(server, connections=4, split_bytes=1 << 20, verify="hash")

    (outcome,) = deliver([source], settings=server.settings(port=relay.port), policy=policy)

    assert outcome.verified == "hash"
    assert found(server) == content([source])

"""Servers that keep to the letter of SFTP and to nothing else: no size in FSTAT, few handles, few opens a connection."""

from __future__ import annotations

import asyncssh.sftp
import pytest
from delivery_servers import AsyncSsh, policy_for
from fault_sources import content, found, small

from delivery import BytesSource, ConnectionLost, DeliveryError, RemoteRefused, deliver


@pytest.fixture
def without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does not offer limits@openssh.com, so nobody can ask how many files may be open."""
    handler = asyncssh.sftp.SFTPServerHandler
    offered = tuple(each for each in handler._extensions if each[0] != b"limits@openssh.com")
    assert len(offered) < len(handler._extensions)
    monkeypatch.setattr(handler, "_extensions", offered)


def test_a_size_that_fstat_does_not_tell_is_asked_by_name(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.fstat_without_size = True
    sources = small(5)

    outcomes = deliver(sources, settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert found(asyncssh_server) == content(sources)
    assert {each.verified for each in outcomes} == {"size"}


@pytest.mark.usefixtures("without_limits")
@pytest.mark.parametrize("handles", [1, 4])
def test_a_server_with_few_handles_gets_everything(asyncssh_server: AsyncSsh, handles: int) -> None:
    asyncssh_server.faults.most_handles = handles
    sources, last = small(150), [BytesSource("manifest.json", b"{}")]
    waits: list[float] = []

    deliver(
        sources,
        last,
        settings=asyncssh_server.settings(),
        policy=policy_for(asyncssh_server, depth=64),
        sleep=waits.append,
    )

    assert found(asyncssh_server) == content([*sources, *last])
    assert len(waits) <= 6  # 64, 32, 16, 8, 4, 2, 1


@pytest.mark.usefixtures("without_limits")
@pytest.mark.parametrize("opens", [3, 20])
def test_a_server_that_cuts_after_some_opens_gets_everything(asyncssh_server: AsyncSsh, opens: int) -> None:
    asyncssh_server.faults.drop_at_open = opens
    sources, policy = small(30), policy_for(asyncssh_server, depth=64, attempts=3)

    deliver(sources, settings=asyncssh_server.settings(), policy=policy, sleep=lambda _: None)

    assert found(asyncssh_server) == content(sources)


@pytest.mark.usefixtures("without_limits")
def test_what_breaks_also_one_by_one_is_given_up_and_the_hint_names_depth(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.drop_at_open = 1
    policy = policy_for(asyncssh_server, depth=8, attempts=3)
    waits: list[float] = []

    with pytest.raises(ConnectionLost) as caught:
        deliver(small(8), settings=asyncssh_server.settings(), policy=policy, sleep=waits.append)

    assert "`depth` 8" in caught.value.hint
    assert len(waits) == 3 + 2  # 8, 4, 2 were halved; then three tries of one file, with two waits between them
    assert not [name for name in found(asyncssh_server) if name.endswith(".sealed")]


@pytest.mark.usefixtures("without_limits")
def test_a_refusal_that_stays_is_red_and_the_hint_names_depth(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.most_handles = 0

    with pytest.raises(DeliveryError) as caught:
        deliver(small(4), settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server), sleep=lambda _: None)

    assert isinstance(caught.value, RemoteRefused)
    assert "`depth`" in caught.value.hint
    assert not caught.value.transient

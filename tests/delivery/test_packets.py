"""Packets as we send and read them: paramiko's own code understands them, keys are changed in time, nothing forged is taken."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from delivery_servers import OpenSsh, policy_for
from fault_sources import Server, big, content, found, small
from paramiko import Message, SSHException
from paramiko.packet import Packetizer

from delivery import Policy, deliver
from delivery.connection import connect
from delivery.packets import ChannelData, Packets

KEY, NONCE = os.urandom(16), os.urandom(12)
ADJUST, DATA = 93, 94


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def sender(sock: socket.socket, kind: type[Packetizer] = Packets) -> Packetizer:
    packets = kind(sock)
    packets.set_outbound_cipher(AESGCM(KEY), 16, None, 16, b"", aead=True, iv_out=NONCE)  # type: ignore[call-arg]
    return packets


def reader(sock: socket.socket, kind: type[Packetizer] = Packets) -> Packetizer:
    packets = kind(sock)
    packets.set_inbound_cipher(AESGCM(KEY), 16, None, 16, b"", aead=True, iv_in=NONCE)  # type: ignore[call-arg]
    return packets


def message(kind: int, *numbers: int, text: bytes | None = None) -> Message:
    made = Message()
    made.add_byte(bytes([kind]))
    for number in numbers:
        made.add_int(number)
    if text is not None:
        made.add_string(text)
    return made


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 15, 16, 17, 1000, 32704])
def test_paramiko_reads_a_burst_as_the_messages_that_it_would_send(sockets: Any, size: int) -> None:
    data = os.urandom(size + 7)
    buffers = [data[:3], memoryview(data)[3:]]

    sender(sockets[0]).send_message(ChannelData(4, buffers, [size, 7]))  # type: ignore[arg-type]  # what a transport is given

    theirs = reader(sockets[1], Packetizer)
    for part in (data[:size], data[size:]):
        kind, read = theirs.read_message()
        assert (kind, read.get_int(), read.get_binary()) == (DATA, 4, part)


@pytest.mark.parametrize("size", range(1, 40))
def test_we_read_what_paramiko_sends_and_it_reads_our_messages(sockets: Any, size: int) -> None:
    for one, other in ((Packets, Packetizer), (Packetizer, Packets)):
        text = os.urandom(size)

        sender(sockets[0], one).send_message(message(80, text=text))

        kind, read = reader(sockets[1], other).read_message()
        assert (kind, read.get_binary()) == (80, text)


def test_adjustments_of_one_channel_that_came_together_are_one(sockets: Any) -> None:
    theirs = sender(sockets[0])
    for channel, count in ((1, 5), (1, 7), (2, 11), (1, 13)):
        theirs.send_message(message(ADJUST, channel, count))

    ours = reader(sockets[1])
    read = [(kind, one.get_int(), one.get_int()) for kind, one in (ours.read_message() for _ in range(3))]

    assert read == [(ADJUST, 1, 12), (ADJUST, 2, 11), (ADJUST, 1, 13)]


def test_what_nobody_waits_for_is_read_all_the_same(sockets: Any) -> None:
    ours = reader(sockets[1])
    assert isinstance(ours, Packets)
    ours.read_at_once(False)

    sender(sockets[0]).send_message(message(80, 1))

    assert ours.read_message()[0] == 80


@pytest.mark.parametrize("place", [4, 10, -1])
def test_a_packet_that_was_changed_on_its_way_is_refused(sockets: Any, place: int) -> None:
    sender(sockets[0]).send_message(message(80, 1, 2, 3))
    packet = bytearray(sockets[1].recv(1000))
    packet[place] ^= 1
    sockets[0].sendall(packet)

    with pytest.raises(SSHException, match="changed on its way"):
        reader(sockets[1]).read_message()


@pytest.mark.parametrize("length", [0, 15, 17, (256 << 10) + 16, 0xFFFFFFF0])
def test_an_impossible_length_is_refused_before_anything_is_kept(sockets: Any, length: int) -> None:
    sockets[0].sendall(length.to_bytes(4, "big"))

    with pytest.raises(SSHException, match="impossible length"):
        reader(sockets[1]).read_message()


@pytest.mark.parametrize("padding", [0, 3, 15, 255])
def test_padding_that_does_not_fit_is_refused(sockets: Any, padding: int) -> None:
    length = (16).to_bytes(4, "big")
    sockets[0].sendall(length + AESGCM(KEY).encrypt(NONCE, bytes([padding]) + bytes(15), length))

    with pytest.raises(SSHException, match="without content"):
        reader(sockets[1]).read_message()


def test_a_cipher_without_its_own_proof_is_refused_after_one_with_it(sockets: Any) -> None:
    with pytest.raises(SSHException, match="changed the kind of cipher"):
        sender(sockets[0]).set_outbound_cipher(None, 16, None, 0, b"")
    with pytest.raises(SSHException, match="changed the kind of cipher"):
        reader(sockets[1]).set_inbound_cipher(None, 16, None, 0, b"")


@pytest.mark.parametrize("verify", ["size", "hash"])
def test_keys_are_changed_in_time_in_both_directions(
    server: Server, policy: Policy, monkeypatch: pytest.MonkeyPatch, verify: Any
) -> None:
    changed: list[str] = []
    for direction in ("outbound", "inbound"):
        original = getattr(Packets, f"set_{direction}_cipher")

        def change(self: Any, *args: Any, _to: Any = original, _name: str = direction, **more: Any) -> None:
            changed.append(_name)
            _to(self, *args, **more)

        monkeypatch.setattr(Packets, f"set_{direction}_cipher", change)
    monkeypatch.setattr(Packets, "REKEY_BYTES", 1 << 20)
    source = big(6 << 20)

    deliver([source], settings=server.settings(), policy=policy_for(server, verify=verify))

    assert found(server) == content([source])
    least = 4 if verify == "size" else 6  # reading it back moves as much again
    assert changed.count("outbound") == changed.count("inbound") >= least


def test_a_server_without_aes_gcm_is_sent_to_by_paramiko(tmp_path: Path) -> None:
    server = OpenSsh(tmp_path, more="Ciphers aes256-ctr").start()
    sources = [big(3 << 20), *small()]
    try:
        with connect(server.settings()) as connection:
            assert connection.transport.local_cipher == "aes256-ctr"
        deliver(sources, settings=server.settings(), policy=policy_for(server))
        assert found(server) == content(sources)
    finally:
        server.stop()


def test_a_greeting_is_read_to_its_end_and_no_longer_than_is_allowed() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        theirs.sendall(b"Welcome\r\nSSH-2.0-x\r\nrest")
        packets = Packets(ours)

        assert [packets.readline(5), packets.readline(5)] == ["Welcome", "SSH-2.0-x"]
        assert packets.read_all(4) == b"rest"
        with pytest.raises(TimeoutError):
            packets.readline(0.1)
        theirs.sendall(b"x" * 70_000)
        with pytest.raises(TimeoutError):
            packets.readline(60)

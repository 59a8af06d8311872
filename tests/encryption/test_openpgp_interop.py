"""What we write is opened by the programs that partners have: same bytes, good signature, the file's name; damage is refused.

A program that is not installed is named in the skip. From Debian: gnupg, sq, sqop, rnp, libbcpg-java with a JDK. openpgp.js comes
by `npm ci` in openpgp_interop/.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from encryption_support import file_info, rsa_key
from openpgp_support import Gpg, gpg_home, signer_of

from encryption import seal
from encryption.openpgp import OpenPgp, Signer, load_openpgp_recipients, own_certificate
from encryption.openpgp.packets import PART_BYTES
from local.openpgp_desk import Desk, NotOpened

HERE = Path(__file__).parent / "openpgp_interop"
# The programs look at the clock of the machine, so the keys are of yesterday.
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=1)
MADE = NOW - dt.timedelta(days=10)
SIZES = (0, 1, 65_535, 65_536, 65_537, 1024 * 1024, 5 * 1024 * 1024)
NAME = "NW_ACCRUALS_20261121_000001.txt"
PARTNERS = {"rsa3072": (3072, False), "rsa4096": (4096, False), "cv25519": (3072, True)}


@dataclass(frozen=True)
class World:
    """Partners with their keys, and for each a folder of messages."""

    folder: Path
    desks: dict[str, Desk]
    sender: Signer

    def messages(self, partner: str) -> Path:
        return self.folder / partner

    def key(self, partner: str) -> str:
        return str(self.folder / f"{partner}.key.asc")

    @property
    def sender_file(self) -> str:
        return str(self.folder / "sealift.pgp.asc")


def content_of(size: int) -> bytes:
    """Half noise, half text that compresses."""
    noise = hashlib.shake_256(str(size).encode()).digest(size - size // 2)
    return noise + (b"line of a file;1;2;3\r\n" * (size // 44 + 1))[: size // 2]


def make_message(desk: Desk, content: bytes, options: OpenPgp, *more: Desk) -> bytes:
    recipients = [load_openpgp_recipients(each.certificate(), None, NOW)[0] for each in (desk, *more)]
    file = file_info(len(content), name=NAME, created=NOW)
    return b"".join(seal([content], file=file, recipients=recipients, format=options))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("interop")
    sender = signer_of(rsa_key("pgp sender"), MADE)
    made = World(folder, {}, sender)
    Path(made.sender_file).write_bytes(own_certificate(sender, "Sealift <files@acme.example>"))
    escrow = Desk.make("Escrow <escrow@acme.example>", MADE)
    for partner, (bits, curve) in PARTNERS.items():
        desk = Desk.make(f"{partner} <{partner}@example.org>", MADE, bits=bits, curve=curve)
        made.desks[partner] = desk
        Path(made.key(partner)).write_bytes(desk.secret())
        made.messages(partner).mkdir()
        for size in SIZES:
            for armour in (False, True):
                for compress in (False, True):
                    options = OpenPgp(signer=sender, armour=armour, compress=compress)
                    name = f"{size}.{'zlib' if compress else 'plain'}{'.asc' if armour else '.pgp'}"
                    content = make_message(desk, content_of(size), options, escrow)
                    (made.messages(partner) / name).write_bytes(content)
    return made


@pytest.fixture(scope="session")
def gpg(world: World) -> Iterator[Gpg]:
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    with gpg_home() as found:
        real_time = RealTime(found.home)
        for partner in PARTNERS:
            real_time.run("--import", world.key(partner))
        real_time.run("--import", world.sender_file)
        yield real_time


class RealTime(Gpg):
    """gpg that looks at the clock."""

    def run(self, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--trust-model", "always"]
        return subprocess.run([*command, *arguments], input=data, capture_output=True)


Report = tuple[str, str | None]  # SHA-256 of what was in a message, and the name, where the program shows it


def expected(message: Path) -> str:
    return hashlib.sha256(content_of(int(message.name.partition(".")[0]))).hexdigest()


def check(world: World, partner: str, open_one: Callable[[Path], Report]) -> None:
    for message in sorted(world.messages(partner).iterdir()):
        sha256, name = open_one(message)
        assert sha256 == expected(message), message.name
        assert name in (None, NAME), message.name


@pytest.mark.parametrize("partner", PARTNERS)
def test_gpg_opens_every_message(world: World, gpg: Gpg, partner: str) -> None:
    def open_one(message: Path) -> Report:
        done = gpg.run("--status-fd", "2", "--decrypt", str(message))
        assert done.returncode == 0, done.stderr
        assert b"[GNUPG:] GOODSIG" in done.stderr
        assert b"[GNUPG:] GOODMDC" in done.stderr
        name = re.search(rb"\[GNUPG:\] PLAINTEXT 62 \d+ (\S*)", done.stderr)
        assert name
        return hashlib.sha256(done.stdout).hexdigest(), name[1].decode()

    check(world, partner, open_one)


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(each) for each in command], capture_output=True)


def needed(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("partner", PARTNERS)
def test_sqop_opens_every_message(world: World, partner: str, tmp_path: Path) -> None:
    needed("sqop")

    def open_one(message: Path) -> Report:
        verified = tmp_path / f"{message.name}.verified"
        options = [f"--verify-with={world.sender_file}", f"--verifications-out={verified}"]
        command = ["sqop", "decrypt", *options, world.key(partner)]
        done = subprocess.run(command, input=message.read_bytes(), capture_output=True)
        assert done.returncode == 0, done.stderr
        assert world.sender.key.fingerprint.hex().upper() in verified.read_text()
        return hashlib.sha256(done.stdout).hexdigest(), None

    check(world, partner, open_one)


@pytest.mark.parametrize("partner", PARTNERS)
def test_sq_opens_every_message(world: World, partner: str) -> None:
    needed("sq")
    older = b"--signer-cert" in run(["sq", "decrypt", "--help"]).stdout
    recipient, signer = ("--recipient-key", "--signer-cert") if older else ("--recipient-file", "--signer-file")

    def open_one(message: Path) -> Report:
        options = [recipient, world.key(partner), signer, world.sender_file]
        done = run(["sq", "decrypt", *options, "--signatures", "1", message])
        assert done.returncode == 0, done.stderr
        assert b"good signature" in done.stderr.lower()
        return hashlib.sha256(done.stdout).hexdigest(), None

    check(world, partner, open_one)


@pytest.mark.parametrize("partner", PARTNERS)
def test_rnp_opens_every_message(world: World, partner: str, tmp_path: Path) -> None:
    needed("rnp", "rnpkeys")
    home = ["--homedir", str(tmp_path)]
    run(["rnpkeys", *home, "--import-keys", world.key(partner)])
    run(["rnpkeys", *home, "--import-keys", world.sender_file])

    def open_one(message: Path) -> Report:
        out = tmp_path / "out"
        done = run(["rnp", *home, "--decrypt", "--overwrite", "--output", out, message])
        assert done.returncode == 0, done.stderr
        assert b"Good signature made" in done.stderr + done.stdout
        return hashlib.sha256(out.read_bytes()).hexdigest(), None

    check(world, partner, open_one)


def reports(done: subprocess.CompletedProcess[bytes]) -> Callable[[Path], Report]:
    """What a program that opens a whole folder in one go has printed."""
    assert done.returncode == 0, done.stderr
    found = {line["message"]: line for line in map(json.loads, done.stdout.splitlines())}
    return lambda message: (found[message.name]["sha256"], found[message.name]["name"])


@pytest.mark.parametrize("partner", PARTNERS)
def test_openpgp_js_opens_every_message(world: World, partner: str) -> None:
    needed("node")
    if not (HERE / "node_modules" / "openpgp").is_dir():
        pytest.skip("openpgp.js is not installed: npm ci in tests/encryption/openpgp_interop")

    done = run(["node", HERE / "open.mjs", world.messages(partner), world.key(partner), world.sender_file])

    check(world, partner, reports(done))


@pytest.fixture(scope="session")
def bouncy_castle(tmp_path_factory: pytest.TempPathFactory) -> str:
    needed("java", "javac")
    jars = [Path("/usr/share/java") / name for name in ("bcpg.jar", "bcprov.jar")]
    if not all(each.exists() for each in jars):
        pytest.skip("Bouncy Castle is not installed: the package libbcpg-java")
    classes = tmp_path_factory.mktemp("bouncy-castle")
    path = os.pathsep.join(map(str, jars))
    done = run(["javac", "-cp", path, "-d", classes, HERE / "OpenPgp.java"])
    assert done.returncode == 0, done.stderr
    return f"{path}{os.pathsep}{classes}"


@pytest.mark.parametrize("partner", PARTNERS)
def test_bouncy_castle_opens_every_message(world: World, bouncy_castle: str, partner: str) -> None:
    arguments = [world.messages(partner), world.key(partner), world.sender_file]

    done = run(["java", "-cp", bouncy_castle, "OpenPgp", *arguments])

    check(world, partner, reports(done))


@pytest.mark.parametrize("partner", PARTNERS)
def test_our_own_reading_opens_every_message(world: World, partner: str) -> None:
    sender = rsa_key("pgp sender").public_key()

    def open_one(message: Path) -> Report:
        opened = world.desks[partner].open(message.read_bytes(), sender)
        assert opened.is_signed
        return hashlib.sha256(opened.content).hexdigest(), opened.name

    check(world, partner, open_one)


# -- damage -----------------------------------------------------------------------------------------------------------


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def damaged(message: bytes) -> dict[str, bytes]:
    """Flips in every packet and at every edge, cuts at every boundary; 150,000 bytes for two recipients with RSA."""
    size = 2 + 1 + (message[1] - 192 << 8) + message[2] + 192
    second, body = size, 2 * size
    end = len(message)
    parts = [body + 1, body + 2 + PART_BYTES, body + 3 + 2 * PART_BYTES]
    flips = {
        "first key packet's key id": 5, "first wrapped key": 60, "first wrapped key's end": size - 1,
        "encrypted packet's version": body + 2, "random prefix": body + 4, "repeated bytes": body + 3 + 17,
        "one-pass signature": body + 3 + 20, "literal packet's name": body + 3 + 45, "first data": body + 3 + 100,
        "end of the first part": parts[1] - 1, "start of the second part": parts[1] + 1, "second part's length": parts[1],
        "data": body + 100_000, "signature": end - 300, "integrity packet's head": end - 22, "integrity hash": end - 1,
    }  # fmt: skip
    cuts = {
        "nothing but the first key packet": second, "only key packets": body, "after the encrypted packet's head": body + 3,
        "after the first part": parts[1], "after the second part": parts[2], "before the signature": end - 420,
        "before the integrity packet": end - 22, "the last byte": end - 1, "in the first key packet": 100,
    }  # fmt: skip
    changed = {f"flip: {name}": flip(message, place) for name, place in flips.items()}
    changed |= {f"cut: {name}": message[:place] for name, place in cuts.items()}
    middle = message[: parts[1]] + message[parts[2] :]
    return changed | {"a part left out": middle, "a byte added": message + b"\0", "doubled": message + message}


@pytest.fixture(scope="session")
def damage(world: World) -> dict[str, bytes]:
    desk, other = world.desks["rsa3072"], world.desks["cv25519"]
    content, options = content_of(150_000), OpenPgp(signer=world.sender)
    escrow = Desk.make("Escrow <escrow@acme.example>", MADE)
    whole = make_message(desk, content, options, escrow)
    assert desk.open(whole, rsa_key("pgp sender").public_key()).content == content
    stranger = signer_of(rsa_key("pgp stranger"), MADE)
    of_another = Signer(world.sender.key, lambda digest: world.sender.sign_digest(hashlib.sha256(digest).digest()))
    forged = Signer(world.sender.key, stranger.sign_digest)
    return damaged(whole) | {
        "signature of another file": make_message(desk, content, replace(options, signer=of_another)),
        "signature by another key": make_message(desk, content, replace(options, signer=forged)),
        "signed by somebody unknown": make_message(desk, content, replace(options, signer=stranger)),
        "for somebody else": make_message(other, content, options),
    }


def test_gpg_refuses_every_damage(gpg: Gpg, damage: dict[str, bytes]) -> None:
    # gpg has the keys of all partners here. Where a file ends before its data, its exit status is 0, but it writes no file.
    accepted = []
    for name in damage.keys() - {"for somebody else"}:
        done = gpg.run("--decrypt", data=damage[name])
        if done.returncode == 0 and done.stdout:
            accepted.append(name)

    assert accepted == []


def test_sqop_refuses_every_damage(world: World, damage: dict[str, bytes], tmp_path: Path) -> None:
    needed("sqop")
    accepted = []
    for name in damage.keys() - {"a byte added"}:  # Sequoia reads no further than the message
        verified = tmp_path / hashlib.sha256(name.encode()).hexdigest()
        options = [f"--verify-with={world.sender_file}", f"--verifications-out={verified}"]
        command = ["sqop", "decrypt", *options, world.key("rsa3072")]
        done = subprocess.run(command, input=damage[name], capture_output=True)
        if done.returncode == 0 and verified.exists() and verified.read_text().strip():
            accepted.append(name)

    assert accepted == []


def test_our_own_reading_refuses_every_damage(world: World, damage: dict[str, bytes]) -> None:
    for name, data in damage.items():
        with pytest.raises(NotOpened):
            pytest.fail(f"{name}: {world.desks['rsa3072'].open(data, rsa_key('pgp sender').public_key())!r}")


def test_gpg_reads_our_certificate(world: World, gpg: Gpg) -> None:
    shown = gpg.run("--with-colons", "--list-keys", "files@acme.example").stdout.decode()

    fields = [line.split(":") for line in shown.splitlines()]
    (public,) = [each for each in fields if each[0] == "pub"]
    assert public[4] == world.sender.key.key_id.hex().upper()
    assert public[11].lower() == "scsc"
    assert [each[9] for each in fields if each[0] == "fpr"] == [world.sender.key.fingerprint.hex().upper()]


def test_gpg_s_own_keys_are_read(world: World, tmp_path: Path) -> None:
    """What partners' gpg makes today: the default, RSA, and the keys that gpg calls future default."""
    needed("gpg")
    with gpg_home() as plain:
        made = RealTime(plain.home)
        for kind in ("default", "future-default"):
            name = f"{kind} <{kind}@example.org>"
            made.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key", name, kind, "default", "1y")
            exported = made.run("--armor", "--export", f"{kind}@example.org").stdout
            now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
            (recipient,) = load_openpgp_recipients(exported, None, now)
            file = file_info(5, name=NAME, created=now)
            message = b"".join(seal([b"hello"], file=file, recipients=[recipient], format="openpgp"))
            assert made.run("--decrypt", data=message).stdout == b"hello"

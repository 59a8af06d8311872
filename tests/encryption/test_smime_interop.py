"""S/MIME files are opened by the programs that partners have: same bytes, our signature good; damage is refused where it can be.

A program that is not installed is named in the skip. From Debian: openssl, libnss3-tools (cmsutil), libbcpkix-java with a JDK.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from encryption_support import file_info, make_certificate, pem, private_pem, rsa_key, smime_signer

from encryption import Recipient, Smime, seal

HERE = Path(__file__).parent / "smime_interop"
ROOT = Path(__file__).resolve().parents[2]
SIZES = (0, 15, 16, 17, 65_519, 65_520, 65_536, 1024 * 1024)
JARS = [Path("/usr/share/java") / name for name in ("bcprov.jar", "bcutil.jar", "bcpkix.jar")]

needs_bouncy_castle = pytest.mark.skipif(
    shutil.which("java") is None or not all(jar.exists() for jar in JARS), reason="Bouncy Castle is not installed"
)


@dataclass(frozen=True)
class World:
    """A partner with a key, and files that were sealed for it and for escrow, named by what they are."""

    folder: Path

    def files(self, *kinds: str) -> list[Path]:
        return [
            each for each in sorted(self.folder.glob("*.p7m")) if all(kind in each.stem.split(".") for kind in kinds)
        ]

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(command, cwd=self.folder, capture_output=True)
        assert not check or done.returncode == 0, (command, done.stderr)
        return done


def content_of(file: Path) -> bytes:
    """Half noise, half text."""
    size = int(file.name.partition(".")[0])
    return hashlib.shake_256(str(size).encode()).digest(size - size // 2) + (b"a;b\r\n" * (size // 10 + 1))[: size // 2]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, now = tmp_path_factory.mktemp("smime"), dt.datetime.now(dt.UTC)
    names = {"mine": "partner", "escrow": "escrow"}
    recipients = [Recipient(name, make_certificate(rsa_key(owner), owner=owner)) for name, owner in names.items()]
    (folder / "key.pem").write_bytes(private_pem(rsa_key("partner")))
    (folder / "cert.pem").write_bytes(pem(recipients[0].certificate))
    (folder / "ours.pem").write_bytes(pem(smime_signer().certificate))
    for size in SIZES:
        for transport in ("pkcs1v15", "oaep"):
            for signer in (None, smime_signer()):
                for armour in ("none", "pem", "mime"):
                    file = folder / f"{size}.{transport}.{'signed' if signer else 'unsigned'}.{armour}.p7m"
                    wish = Smime(key_transport=transport, signer=signer, armour=armour)  # type: ignore[arg-type]  # of the loops
                    info = file_info(size, created=now)
                    file.write_bytes(b"".join(seal([content_of(file)], file=info, recipients=recipients, format=wish)))
    return World(folder)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("armour", ["none", "pem", "mime"])
def test_openssl_opens_and_verifies(world: World, armour: str) -> None:
    form = {"none": "DER", "pem": "PEM", "mime": "SMIME"}[armour]
    for file in world.files(armour):
        world.run("openssl", "cms", "-decrypt", "-inform", form, "-in", file, "-inkey", "key.pem", "-out", "content")
        if "signed" in file.stem.split("."):
            verify = ["cms", "-verify", "-binary", "-inform", "DER", "-in", "content", "-CAfile", "ours.pem"]
            world.run("openssl", *verify, "-out", "verified")
            (world.folder / "verified").replace(world.folder / "content")
        assert (world.folder / "content").read_bytes() == content_of(file), file.name


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_refuses_a_signed_file_in_which_a_byte_was_flipped(world: World) -> None:
    (file,) = [each for each in world.files("signed", "pkcs1v15", "none") if each.name.startswith("65536.")]
    for position in (1200, 20_000, 60_000):
        data = bytearray(file.read_bytes())
        data[position] ^= 1
        (world.folder / "flipped").write_bytes(data)
        open_it = ["cms", "-decrypt", "-inform", "DER", "-in", "flipped", "-inkey", "key.pem", "-out", "content"]
        verify = ["cms", "-verify", "-binary", "-inform", "DER", "-in", "content", "-CAfile", "ours.pem", "-out", "x"]

        opened = world.run("openssl", *open_it, check=False)

        assert opened.returncode or world.run("openssl", *verify, check=False).returncode, position


@pytest.fixture(scope="session")
def nss(world: World) -> Path:
    if not (shutil.which("cmsutil") and shutil.which("certutil") and shutil.which("pk12util")):
        pytest.skip("cmsutil is not installed")
    (world.folder / "nss").mkdir()
    world.run("certutil", "-N", "-d", "nss", "--empty-password")
    pkcs12 = ["pkcs12", "-export", "-inkey", "key.pem", "-in", "cert.pem", "-passout", "pass:x", "-name", "partner"]
    world.run("openssl", *pkcs12, "-out", "mine.p12")
    world.run("pk12util", "-i", "mine.p12", "-d", "nss", "-W", "x")
    world.run("certutil", "-A", "-d", "nss", "-n", "ours", "-t", ",P,", "-i", "ours.pem")
    return world.folder / "nss"


def test_nss_opens_pkcs1v15_files_and_verifies(world: World, nss: Path) -> None:
    for file in world.files("pkcs1v15", "none"):
        world.run("cmsutil", "-D", "-d", nss, "-i", file, "-o", "content")
        if "signed" in file.stem.split("."):
            if content_of(file) == b"":  # NSS finds "no message digests" in an empty signed file of openssl's as well
                continue
            world.run("cmsutil", "-D", "-d", nss, "-u", "4", "-i", "content", "-o", "verified")
            (world.folder / "verified").replace(world.folder / "content")
        assert (world.folder / "content").read_bytes() == content_of(file), file.name


def test_nss_knows_no_oaep_as_the_table_of_programs_says(world: World, nss: Path) -> None:
    (file,) = [each for each in world.files("oaep", "unsigned", "none") if each.name.startswith("16.")]

    done = world.run("cmsutil", "-D", "-d", nss, "-i", file, "-o", "content", check=False)

    assert b"SEC_ERROR_UNSUPPORTED_KEYALG" in done.stderr


@needs_bouncy_castle
def test_bouncy_castle_opens_and_verifies(world: World) -> None:
    files = world.files("none")
    path = ":".join(map(str, JARS))

    done = world.run("java", "-cp", path, HERE / "Smime.java", "key.pem", "cert.pem", "ours.pem", *files)

    words = {file: "signed" if "signed" in file.stem.split(".") else "unsigned" for file in files}
    expected = [f"{file} {hashlib.sha256(content_of(file)).hexdigest()} {words[file]}" for file in files]
    assert done.stdout.decode().splitlines() == expected


@pytest.mark.skipif(shutil.which("gpgsm") is None, reason="gpgsm is not installed")
def test_gpgsm_opens_pkcs1v15_files(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "gpgsm.conf").write_text("disable-crl-checks\ndisable-trusted-cert-crl-check\n")
    (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
    pkcs12 = ["pkcs12", "-export", "-inkey", "key.pem", "-in", "cert.pem", "-passout", "pass:x", "-legacy"]
    world.run("openssl", *pkcs12, "-out", "legacy.p12")
    gpgsm = ["gpgsm", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0"]
    try:
        subprocess.run([*gpgsm, "--import", world.folder / "legacy.p12"], input=b"x\n", check=True, capture_output=True)
        for file in world.files("pkcs1v15", "unsigned", "none"):
            done = subprocess.run([*gpgsm, "--decrypt", file], input=b"x\n", capture_output=True)
            assert done.stdout == content_of(file), (file.name, done.stderr)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)


STREAMING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from cryptography import x509
from cli.batch_folder import read_chunks
from encryption import FileInfo, Recipient, Smime, seal
plain, certificate, size = Path(sys.argv[1]), x509.load_pem_x509_certificate(Path(sys.argv[2]).read_bytes()), int(sys.argv[3])
file = FileInfo(batch="by-hand", name="plain", plaintext_bytes=size, created=datetime.now(UTC))
sys.stdout.buffer.writelines(seal(read_chunks(plain), file=file, recipients=[Recipient("me", certificate)], format=Smime()))
status = Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmHWM:")), file=sys.stderr)
"""


@pytest.mark.slow
@needs_bouncy_castle
def test_three_gib_stream_in_constant_memory_and_bouncy_castle_opens_them(world: World, tmp_path: Path) -> None:
    """Not openssl: it reads a whole file before it decrypts, and refuses one of 3 GiB."""
    size = 3 * 2**30
    with (tmp_path / "plain").open("wb") as file:
        file.truncate(size)
    expected = hashlib.sha256()
    for _ in range(size // 2**20):
        expected.update(bytes(2**20))
    (tmp_path / "ours.py").write_text(STREAMING)
    ours = f"{sys.executable} {tmp_path}/ours.py {tmp_path}/plain cert.pem {size} 2>{tmp_path}/peak"
    opening = f"java -Xmx64m -cp {':'.join(map(str, JARS))} {HERE}/Smime.java key.pem cert.pem ours.pem /dev/stdin"

    done = subprocess.run(
        ["sh", "-c", f"{ours} | {opening}"],
        cwd=world.folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.stdout.split() == ["/dev/stdin", expected.hexdigest(), "unsigned"], done.stderr
    assert int((tmp_path / "peak").read_text().split()[1]) < 60 * 1024

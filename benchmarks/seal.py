"""`./sealift bench seal`: sealing and opening one large file in memory, beside every peer that this machine has.

`--format openpgp` compares OpenPGP files with gpg alone (benchmarks/seal_openpgp.py), `--format smime` S/MIME files with openssl
(benchmarks/seal_smime.py).

All tools read the same file from RAM and write to nowhere, each in a process of its own, in turns; the best of the rounds
counts. CPU seconds per GB are the steadier figure on a shared machine. `ratio` is a tool's CPU time against that of native
with its hash of the sealed bytes: above 1, it costs more than ours, hash and all.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.children import wait

ROOT = Path(__file__).resolve().parent.parent
READ_BYTES = 64 * 1024
CPU_PLAIN, CPU_HASHED, CPU_BOTH, RSS_MIB, SMALL_FILES_A_SECOND = 0.45, 1.1, 1.3, 60, 1500
OURS = "native"
OURS_HASHED = "native + SHA-256"
OURS_BOTH = "native + 2 SHA-256"  # of the plaintext too, which sealing itself leaves alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The best of some runs of one tool."""

    wall_seconds: float
    cpu_seconds: float
    rss_mib: float


def main(argv: list[str]) -> int:
    """Print the table; exit 1 when one of the bars is missed."""
    parser = argparse.ArgumentParser("sealift bench seal", description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="size of the file (2048)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--format", choices=("native", "openpgp", "smime"), default="native")
    parser.add_argument("--child", nargs=2, metavar=("WORK", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        return _child(*arguments.child)
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="sealift-bench-") as folder:
        if arguments.format == "openpgp":
            from benchmarks.seal_openpgp import compare

            return compare(Path(folder), arguments.mib, arguments.rounds)
        if arguments.format == "smime":
            from benchmarks.seal_smime import compare as compare_smime

            return compare_smime(Path(folder), arguments.mib, arguments.rounds)
        return _compare(Path(folder), arguments.mib, arguments.rounds, peers=not arguments.no_peers)


def _compare(folder: Path, mib: int, rounds: int, *, peers: bool) -> int:
    plain = folder / "plain"
    _make(plain, mib)
    key = rsa.generate_private_key(65537, 3072)
    _write_keys(folder, key)
    _run([sys.executable, "-m", "benchmarks.seal", "--child", "sealed", str(plain)])
    python = [sys.executable, "-m", "benchmarks.seal", "--child"]
    tools = {
        "cp (the limit)": ["cp", str(plain), str(folder / "copy")],
        OURS: [*python, "native", str(plain)],
        OURS_HASHED: [*python, "native-hashed", str(plain)],
        OURS_BOTH: [*python, "native-both", str(plain)],
        "detached + SHA-256": [*python, "detached-hashed", str(plain)],
        "open native": [*python, "open", str(plain)],
    }
    if mib <= 1024:
        tools["cms + SHA-256"] = [*python, "cms-hashed", str(plain)]
    if peers:
        tools |= _peers(folder, plain)
    best: dict[str, Figure] = {}
    for _ in range(rounds):
        for name, command in tools.items():
            best[name] = _better(best.get(name), _measure(command, folder))
    print(f"{'to nowhere, ' + str(mib) + ' MiB in memory':<28} {'MB/s':>7} {'CPU s/GB':>9} {'RSS MiB':>8} {'ratio':>6}")
    gigabytes = mib * 1024 * 1024 / 1e9
    ours = best[OURS_HASHED]
    for name, figure in best.items():
        speed, cpu = gigabytes * 1000 / figure.wall_seconds, figure.cpu_seconds / gigabytes
        print(f"{name:<28} {speed:7.0f} {cpu:9.2f} {figure.rss_mib:8.0f} {figure.cpu_seconds / ours.cpu_seconds:6.2f}")
    small = float(_run([*python, "small", str(plain)]))
    print(f"{'1,000 files of 10 KiB':<28} {small:7.0f} files/s on one core, two recipients, hashed")
    return _judge(best, gigabytes, small)


def _judge(best: dict[str, Figure], gigabytes: float, small: float) -> int:
    ours, hashed, both = best[OURS], best[OURS_HASHED], best[OURS_BOTH]
    bars = [
        (f"native costs at most {CPU_PLAIN} CPU s/GB", ours.cpu_seconds / gigabytes <= CPU_PLAIN),
        (f"native with its hash costs at most {CPU_HASHED} CPU s/GB", hashed.cpu_seconds / gigabytes <= CPU_HASHED),
        (f"native with two hashes costs at most {CPU_BOTH} CPU s/GB", both.cpu_seconds / gigabytes <= CPU_BOTH),
        (f"native stays below {RSS_MIB} MiB", max(ours.rss_mib, hashed.rss_mib, both.rss_mib) <= RSS_MIB),
        (f"at least {SMALL_FILES_A_SECOND} small files a second on one core", small >= SMALL_FILES_A_SECOND),
    ]
    rivals = [peer for peer in ("age X25519", "age ssh-rsa", "openssl cms gcm") if peer in best]
    bars += [(f"native is faster than {peer}", ours.wall_seconds < best[peer].wall_seconds) for peer in rivals]
    for text, held in bars:
        print(f"  {'+' if held else 'x'} {text}")
    return 0 if all(held for _, held in bars) else 1


def _make(path: Path, mib: int) -> None:
    block = os.urandom(16 * 1024 * 1024)
    with path.open("wb") as file:
        for _ in range(max(1, mib // 16)):
            file.write(block)
        file.truncate(mib * 1024 * 1024)


def _write_keys(folder: Path, key: rsa.RSAPrivateKey) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    form, none = serialization.PrivateFormat, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form.PKCS8, none))
    (folder / "ssh").write_bytes(key.private_bytes(pem, form.OpenSSH, none))
    (folder / "ssh").chmod(0o600)
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    (folder / "ssh.pub").write_bytes(key.public_key().public_bytes(*openssh) + b"\n")


def _peers(folder: Path, plain: Path) -> dict[str, list[str]]:
    """Return the commands of the peers that are here; those that are not are named once."""
    found: dict[str, list[str]] = {}
    if shutil.which("age"):
        shown = _run(["age-keygen", "-o", str(folder / "age.key")], error=True)
        recipient = shown.split()[-1]
        _run(["age", "-r", recipient, "-o", str(folder / "plain.age"), str(plain)])
        found["age X25519"] = ["age", "-r", recipient, "-o", "/dev/null", str(plain)]
        found["age ssh-rsa"] = ["age", "-R", str(folder / "ssh.pub"), "-o", "/dev/null", str(plain)]
        found["open age X25519"] = [
            "age",
            "-d",
            "-i",
            str(folder / "age.key"),
            "-o",
            "/dev/null",
            str(folder / "plain.age"),
        ]
    if shutil.which("openssl"):
        oaep = ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha256"]
        cms = [
            "openssl",
            "cms",
            "-encrypt",
            "-binary",
            "-stream",
            "-outform",
            "DER",
            "-in",
            str(plain),
            "-out",
            "/dev/null",
        ]
        recipient_options = ["-recip", str(folder / "cert.pem")]
        found["openssl cms gcm"] = [*cms, "-aes-256-gcm", *recipient_options, *oaep]
        found["openssl cms cbc"] = [*cms, "-aes-256-cbc", *recipient_options, *oaep]
    if shutil.which("gpg"):
        home = folder / "gnupg"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--yes", "--quiet", "--trust-model", "always"]
        _run([*gpg, "--passphrase", "", "--quick-gen-key", "bench", "rsa3072", "encrypt", "1d"])
        found["gpg -z0"] = [*gpg, "-z0", "-r", "bench", "-o", "/dev/null", "--encrypt", str(plain)]
    for tool in ("age", "openssl", "gpg"):
        if not shutil.which(tool):
            print(f"note: {tool} is not on this machine, so it is not compared")
    return found


def _run(command: list[str], *, error: bool = False) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stderr if error else done.stdout


def _measure(command: list[str], folder: Path) -> Figure:
    (folder / "copy").unlink(missing_ok=True)
    began = time.perf_counter()
    usage, peak_mib = wait(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
    wall = time.perf_counter() - began
    return Figure(wall_seconds=wall, cpu_seconds=usage.ru_utime + usage.ru_stime, rss_mib=peak_mib)


def _better(old: Figure | None, new: Figure) -> Figure:
    if old is None:
        return new
    return Figure(
        wall_seconds=min(old.wall_seconds, new.wall_seconds),
        cpu_seconds=min(old.cpu_seconds, new.cpu_seconds),
        rss_mib=max(old.rss_mib, new.rss_mib),
    )


# ------------------------------------------------------------------------------------------- what a child process does


def _child(work: str, path: str) -> int:
    from encryption import FileInfo, OpenPgp, load_recipients, open_sealed, seal
    from encryption.sealing import _BODIES, _Attempt, _pieces
    from encryption.wrapping import wrap_for_all

    plain, now = Path(path), datetime.now(UTC)
    recipients = load_recipients((plain.parent / "cert.pem").read_bytes(), None, now)
    file = FileInfo(batch="bench", name="plain", plaintext_bytes=plain.stat().st_size, created=now)
    if work == "small":
        print(_seal_small(plain))
    elif work == "sealed":
        with (plain.parent / "plain.sealed").open("wb") as sink:
            sink.writelines(seal(_read(plain), file=file, recipients=recipients))
    elif work == "open":
        key = serialization.load_pem_private_key((plain.parent / "key.pem").read_bytes(), None)
        _discard(open_sealed(_read(plain.parent / "plain.sealed"), key))  # type: ignore[arg-type]  # an RSA key, made above
    elif work == "native-both":
        _discard(seal(_hashed(_read(plain)), file=file, recipients=recipients))
    elif work.endswith("-hashed"):
        _discard(seal(_read(plain), file=file, recipients=recipients, format=work.removesuffix("-hashed")))
    else:
        # Sealing always hashes; what it costs without is measured below it.
        file_key = os.urandom(32)
        attempt = _Attempt(file, file_key, wrap_for_all(file_key, recipients), [*recipients], OpenPgp())
        body = _BODIES[work](attempt)
        _discard(body.update(piece) for piece in _pieces(_read(plain)))
        body.finish()
    return 0


def _seal_small(plain: Path) -> float:
    from encryption import FileInfo, Recipient, load_recipients, seal

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    now, content = datetime.now(UTC), os.urandom(10 * 1024)
    (recipient,) = load_recipients((plain.parent / "cert.pem").read_bytes(), None, now)
    key = rsa.generate_private_key(65537, 3072)
    _write_keys(folder := Path(tempfile.mkdtemp(dir=plain.parent)), key)
    escrow = Recipient("escrow", load_recipients((folder / "cert.pem").read_bytes(), None, now)[0].certificate)
    began = time.process_time()
    for number in range(1000):
        file = FileInfo(batch="bench", name=f"{number}.csv", plaintext_bytes=len(content), created=now)
        sealing = seal([content], file=file, recipients=[recipient, escrow])
        assert hashlib.sha256(b"".join(sealing)).hexdigest() == sealing.result.sealed_sha256
    return 1000 / (time.process_time() - began)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            yield piece


def _hashed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece


def _discard(pieces: Iterable[bytes]) -> None:
    for _ in pieces:
        pass


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

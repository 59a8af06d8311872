"""`./sealift bench seal --format smime`: S/MIME files beside `openssl cms`, in one run, in turns, by the median of CPU seconds.

Sealing as production does it, which hashes the sealed bytes too, is compared with `openssl cms -encrypt -aes-256-cbc -stream`
piped through `openssl dgst -sha256`; signed inside with a PEM key, with `openssl cms -sign` before. All read the same file from
memory and write to nowhere; the recipient has RSA 3072, its key is wrapped by PKCS#1 v1.5.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from benchmarks.children import Figure, measure, read_pieces
from encryption import FileInfo, FileSigner, Smime, load_recipients, seal
from encryption.signed_data import own_smime_certificate

ROOT = Path(__file__).resolve().parent.parent
BAR, RSS_MIB = 1.15, 60
PAIRS = {
    "ours, SHA-256": "openssl cms, SHA-256",
    "ours, signed, SHA-256": "openssl cms, signed, SHA-256",
}


def compare(folder: Path, mib: int, rounds: int) -> int:
    """Print the table; exit 1 when one of the bars is missed, 2 where there is no openssl to compare with."""
    if not shutil.which("openssl"):
        print("openssl is not on this machine: there is nothing to compare with")
        return 2
    plain = folder / "plain"
    block = Path("/dev/urandom").open("rb").read(16 * 1024 * 1024)  # noqa: SIM115
    with plain.open("wb") as file:
        for _ in range(max(1, mib // 16)):
            file.write(block)
    for name in ("partner", "sender"):
        make = f"openssl req -x509 -newkey rsa:3072 -noenc -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        subprocess.run(make.split(), cwd=folder, check=True, capture_output=True)
    tools = _tools(folder, plain)
    runs: dict[str, list[Figure]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, command in tools.items():
            runs[name].append(measure(command, ROOT))
    return _print(runs, mib)


def _tools(folder: Path, plain: Path) -> dict[str, str]:
    ours = f"{sys.executable} -m benchmarks.seal_smime"
    encrypt = f"openssl cms -encrypt -binary -stream -aes-256-cbc -outform DER -recip {folder}/partner.pem"
    sign = f"openssl cms -sign -binary -nodetach -stream -outform DER -signer {folder}/sender.pem -inkey {folder}/sender.key"
    return {
        "openssl cms, SHA-256": f"{encrypt} -in {plain} | openssl dgst -sha256",
        "ours, SHA-256": f"{ours} seal {plain}",
        "openssl cms, signed, SHA-256": f"{sign} -in {plain} | {encrypt} | openssl dgst -sha256",
        "ours, signed, SHA-256": f"{ours} seal-sign {plain}",
    }


def _print(runs: dict[str, list[Figure]], mib: int) -> int:
    gigabytes = mib * 1024 * 1024 / 1e9
    cpu = {name: statistics.median(each.cpu_seconds for each in found) / gigabytes for name, found in runs.items()}
    title = f"{mib} MiB, median of {len(runs['ours, SHA-256'])}"
    print(f"{title:<32} {'MB/s':>7} {'CPU s/GB':>9} {'RSS MiB':>8} {'ratio':>6}")
    for name, found in runs.items():
        speed = gigabytes * 1000 / statistics.median(each.wall_seconds for each in found)
        rss = f"{max(each.rss_mib for each in found):.0f}" if name in PAIRS else ""
        print(f"{name:<32} {speed:7.0f} {cpu[name]:9.2f} {rss:>8} {cpu[name] / cpu[PAIRS.get(name, name)]:6.2f}")
    peak = max(each.rss_mib for name in PAIRS for each in runs[name])
    bars = [(f"our peak stays below {RSS_MIB} MiB", peak < RSS_MIB)]
    for mine, peer in PAIRS.items():
        words = f"{mine}: at most {BAR} times the CPU of {peer}: {cpu[mine] / cpu[peer]:.2f}"
        bars.append((words, cpu[mine] <= BAR * cpu[peer]))
    for text, held in bars:
        print(f"  {'+' if held else 'x'} {text}")
    return 0 if all(held for _, held in bars) else 1


def _child(work: str, path: Path) -> None:
    now = datetime.now(UTC)
    recipients = load_recipients((path.parent / "partner.pem").read_bytes(), None, now)
    wish = Smime(signer=_signer(path.parent / "sender.key", now) if work == "seal-sign" else None)
    file = FileInfo(batch="bench", name="plain", plaintext_bytes=path.stat().st_size, created=now)
    for _ in seal(read_pieces(path), file=file, recipients=recipients, format=wish, hash_threads=False):
        pass


def _signer(path: Path, now: datetime) -> FileSigner:
    """Return a signer with a key of this machine, in the place of the vault's."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)

    def sign(digest: bytes) -> bytes:
        return key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))

    return FileSigner(own_smime_certificate(key.public_key(), "sender", now, sign), sign)


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]))

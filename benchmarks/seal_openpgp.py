"""`./sealift bench seal --format openpgp`: OpenPGP files beside gpg, in one run, in turns, by the median of CPU seconds.

Equal duties are compared: the writer of messages with gpg, encrypting alone and encrypting with a signature over SHA-256; and
sealing as production does it, which hashes the sealed bytes too, with gpg piped through `openssl dgst -sha256`, which is faster
than sha256sum. gpg as it is set up signs over SHA-512: the bar of the writer that signs is that row's. All read the same file
from memory and write to nowhere; the recipient has RSA 3072, nobody compresses. gpg signs by its agent, we with a PEM key.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from benchmarks.children import Figure, measure, read_pieces

ROOT = Path(__file__).resolve().parent.parent
ENCRYPT_BAR, SIGN_BAR, RSS_MIB = 1.15, 0.8, 60
AS_SET_UP = "gpg encrypt + sign, as it is set up"


def compare(folder: Path, mib: int, rounds: int) -> int:
    """Print the table; exit 1 when one of the bars is missed, 2 where there is no gpg to compare with."""
    if not shutil.which("gpg"):
        print("gpg is not on this machine: there is nothing to compare with")
        return 2
    plain = folder / "plain"
    block = os.urandom(16 * 1024 * 1024)
    with plain.open("wb") as file:
        for _ in range(max(1, mib // 16)):
            file.write(block)
    gpg = _gpg(folder)
    _write_key(folder / "signer.pem")
    try:
        tools = _tools(gpg, plain)
        runs: dict[str, list[Figure]] = {name: [] for name in tools}
        for _ in range(rounds):
            for name, command in tools.items():
                runs[name].append(measure(command, ROOT))
    finally:
        subprocess.run(["gpgconf", "--homedir", str(folder / "gnupg"), "--kill", "all"], check=False)
    return _print(runs, mib)


def _tools(gpg: str, plain: Path) -> dict[str, str]:
    ours = f"{sys.executable} -m benchmarks.seal_openpgp"
    sign = "--digest-algo SHA256 --sign"
    return {
        "gpg encrypt": f"{gpg} -o /dev/null --encrypt {plain}",
        "ours encrypt": f"{ours} write {plain}",
        AS_SET_UP: f"{gpg} -o /dev/null --sign --encrypt {plain}",
        "gpg encrypt + sign": f"{gpg} -o /dev/null {sign} --encrypt {plain}",
        "ours encrypt + sign": f"{ours} write-sign {plain}",
        "gpg encrypt, SHA-256": f"{gpg} -o - --encrypt {plain} | openssl dgst -sha256",
        "ours encrypt, SHA-256": f"{ours} seal {plain}",
        "gpg encrypt + sign, SHA-256": f"{gpg} -o - {sign} --encrypt {plain} | openssl dgst -sha256",
        "ours encrypt + sign, SHA-256": f"{ours} seal-sign {plain}",
    }


def _print(runs: dict[str, list[Figure]], mib: int) -> int:
    gib = mib / 1024
    cpu = {name: statistics.median(each.cpu_seconds for each in found) / gib for name, found in runs.items()}
    title = f"{mib} MiB, median of {len(runs['gpg encrypt'])}"
    print(f"{title:<36} {'MB/s':>7} {'CPU s/GiB':>10} {'RSS MiB':>8} {'of gpg':>7}")
    for name, found in runs.items():
        speed = mib * 1.048576 / statistics.median(each.wall_seconds for each in found)
        rss = "" if name.startswith("gpg") and "SHA-256" in name else f"{max(each.rss_mib for each in found):.0f}"
        peer = name.replace("ours", "gpg").partition(", as")[0]
        print(f"{name:<36} {speed:7.0f} {cpu[name]:10.2f} {rss:>8} {cpu[name] / cpu[peer]:7.2f}")
    ours = [each.rss_mib for name, found in runs.items() if name.startswith("ours") for each in found]
    bars = [(f"our peak stays below {RSS_MIB} MiB", max(ours) < RSS_MIB)]
    for mine, peer, bar in (
        ("ours encrypt", "gpg encrypt", ENCRYPT_BAR),
        ("ours encrypt, SHA-256", "gpg encrypt, SHA-256", ENCRYPT_BAR),
        ("ours encrypt + sign", AS_SET_UP, SIGN_BAR),
    ):
        bars.append(
            (
                f"{mine}: at most {bar} times the CPU of {peer}: {cpu[mine] / cpu[peer]:.2f}",
                cpu[mine] <= bar * cpu[peer],
            )
        )
    for text, held in bars:
        print(f"  {'+' if held else 'x'} {text}")
    return 0 if all(held for _, held in bars) else 1


def _gpg(folder: Path) -> str:
    """Return the command of gpg with a home that holds a key which encrypts and one that signs."""
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = f"gpg --homedir {home} --batch --yes --quiet --no-tty --trust-model always"
    for name, usage in (("bench", "encrypt"), ("signer", "sign")):
        command = f"{gpg} --pinentry-mode loopback --passphrase '' --quick-gen-key {name} rsa3072 {usage} 1d"
        subprocess.run(command, shell=True, check=True, capture_output=True)
    exported = subprocess.run(f"{gpg} --export bench", shell=True, check=True, capture_output=True)
    (folder / "bench.pgp").write_bytes(exported.stdout)
    return f"{gpg} -z0 --local-user signer --recipient bench"


def _write_key(path: Path) -> None:
    key = rsa.generate_private_key(65537, 3072)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))


# ------------------------------------------------------------------------------------------- what a child process does


def _child(work: str, path: Path) -> None:
    from encryption import FileInfo, OpenPgp, seal
    from encryption.openpgp import Message, Signer, load_openpgp_recipients
    from encryption.openpgp.keys import key_of

    now = datetime.now(UTC) + timedelta(seconds=1)
    signer = None
    if work.endswith("-sign"):
        key = serialization.load_pem_private_key((path.parent / "signer.pem").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        scheme = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
        signer = Signer(key_of(key.public_key(), now - timedelta(days=1)), lambda digest: key.sign(digest, *scheme))
    (recipient,) = load_openpgp_recipients((path.parent / "bench.pgp").read_bytes(), None, now)
    options = OpenPgp(signer=signer)
    if work.startswith("seal"):
        file = FileInfo(batch="bench", name="plain", plaintext_bytes=path.stat().st_size, created=now)
        for _ in seal(read_pieces(path), file=file, recipients=[recipient], format=options, hash_threads=False):
            pass
        return
    session_key = os.urandom(32)
    message = Message(session_key, [recipient.wrap(session_key)], "plain", now, options)
    for piece in read_pieces(path):
        message.update(piece)
    message.finish()


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]))

"""`./sealift seal | open | inspect`: the sealed file in a person's hands.

Sealing here is for single files, tests and partners' questions; the daily batches are sealed by the function app. `seal`
needs public certificates only. With --sign the files become a whole batch, as a partner receives it; a detached file has no
other form, because its nonce and tag are in the manifest.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from cli.batch_folder import FileProblem, Watch, open_batch, open_one, read_chunks, unwatched, verify_batch, writing
from encryption import (
    FORMATS,
    FileInfo,
    FileSigner,
    Manifest,
    ManifestFile,
    OpenPgp,
    SealedFile,
    Smime,
    keys_json,
    load_verification_key,
    read_header,
    seal,
)
from encryption.cms import read_envelope
from encryption.manifest import PSS
from encryption.openpgp import Signer
from encryption.openpgp.keys import ALGORITHM_NAMES, key_of
from encryption.openpgp.packets import read_message
from encryption.receiving import load_receivers
from encryption.rsa_numbers import check_rsa_numbers
from encryption.sealing import OPENPGP_EXTENSIONS
from encryption.signed_data import own_smime_certificate
from encryption.smime import KEY_TRANSPORTS, read_smime_envelope
from encryption.smime_armour import ARMOURS, Unarmoured
from encryption.wrapping import Receiver

BY_HAND = "by-hand"
ARMOURED = b"-----BEGIN PGP MESSAGE-----"
OPENPGP_NOTE = ("note", "name, signature and content are encrypted: only a recipient sees them")
SMIME_NOTE = ("note", "nothing in the file shows a change: the signed manifest does, or the signature inside")
ARMOUR_NOTE = ("note", "gpg --dearmor shows the packets inside: inspect its output")
SHOW_PROGRESS_FROM_BYTES = 64 * 1024 * 1024
# A PEM key has no date, and an OpenPGP fingerprint depends on one: counted as made then, a key always has the same fingerprint.
PEM_KEY_MADE = datetime(2000, 1, 1, tzinfo=UTC)


def seal_main(argv: list[str]) -> int:
    """`./sealift seal`."""
    parser = argparse.ArgumentParser("sealift seal", description="Seal files for one or more certificates.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the files to seal")
    parser.add_argument(
        "--to",
        action="append",
        required=True,
        type=Path,
        metavar="CERT",
        help="X.509 or OpenPGP; repeat for more recipients",
    )
    parser.add_argument("--format", choices=FORMATS, default="native", help="what the recipient opens it with (native)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the sealed files go")
    parser.add_argument("--batch", default=BY_HAND, help="batch id that the files carry (default: %(default)s)")
    parser.add_argument(
        "--sign", type=Path, metavar="KEY.pem", help="make a whole batch: write keys.json, manifest and signature"
    )
    both = parser.add_argument_group("with --format openpgp or smime")
    both.add_argument("--sign-key", type=Path, metavar="KEY.pem", help="sign the file itself with this RSA key")
    both.add_argument("--extension", choices=(*OPENPGP_EXTENSIONS, ".p7m"), help="default: .pgp or .p7m")
    openpgp = parser.add_argument_group("with --format openpgp")
    openpgp.add_argument("--armour", action="store_true", help="write text (ASCII armour)")
    openpgp.add_argument("--compress", action="store_true", help="compress before encrypting")
    smime = parser.add_argument_group("with --format smime")
    smime.add_argument("--key-transport", choices=KEY_TRANSPORTS, help="default: pkcs1v15, which every program opens")
    smime.add_argument("--armour-as", choices=ARMOURS, help="write text: PEM, or a MIME message")
    arguments = parser.parse_args(argv)
    if arguments.format == "detached" and not arguments.sign:
        parser.error("a detached file cannot be opened without a signed manifest: give --sign KEY.pem")
    if arguments.format != "openpgp" and (arguments.armour or arguments.compress):
        parser.error("--armour and --compress belong to --format openpgp")
    if arguments.format != "smime" and (arguments.key_transport or arguments.armour_as):
        parser.error("--key-transport and --armour-as belong to --format smime")
    if arguments.format not in ("openpgp", "smime") and (arguments.sign_key or arguments.extension is not None):
        parser.error("--sign-key and --extension belong to --format openpgp and smime")
    if arguments.format == "smime" and not (arguments.sign or arguments.sign_key):
        parser.error(
            "an S/MIME file shows no change by itself: give --sign KEY.pem for a manifest, or --sign-key KEY.pem"
        )
    now = datetime.now(UTC)
    recipients = [each for path in arguments.to for each in load_receivers(read_file(path), None, now)]
    signer = load_private_key(arguments.sign) if arguments.sign else None
    kind = _wish(arguments, signer)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with _progress(arguments.files) as watch:
        sealed = [
            seal_file(path, arguments.out, recipients, kind, arguments.batch, now, watch) for path in arguments.files
        ]
    for each in sealed:
        print(f"sealed {each.sealed_name}  {each.sealed_bytes:,} bytes  SHA-256 {each.sealed_sha256}")
    if signer:
        print(f"signed {write_manifest(arguments.out, arguments.batch, sealed, lambda data: sign(data, signer), now)}")
    return 0


def _wish(arguments: argparse.Namespace, manifest_key: RSAPrivateKey | None) -> str | OpenPgp | Smime:
    """Return how the files are wished. One RSA key must not sign both in the manifest's way and in that of files."""
    key: Path | None = arguments.sign_key
    if key and manifest_key and load_private_key(key).public_key() == manifest_key.public_key():
        raise FileProblem("--sign and --sign-key are the same RSA key", "use a key of its own for signatures in files")
    extension = arguments.extension
    if arguments.format == "openpgp":
        return OpenPgp(
            signer=openpgp_signer(key) if key else None,
            armour=arguments.armour,
            compress=arguments.compress,
            extension=".pgp" if extension is None else extension,
        )
    if arguments.format == "smime":
        return Smime(
            key_transport=arguments.key_transport or "pkcs1v15",
            signer=smime_signer(key) if key else None,
            armour=arguments.armour_as or "none",
            extension=".p7m" if extension is None else extension,
        )
    return str(arguments.format)


def openpgp_signer(path: Path) -> Signer:
    """Return a signer of OpenPGP files whose private RSA key is in a PEM file. Raises FileProblem, KeyTooSmall, WeakKey."""
    key, sign_digest = _file_key(path)
    return Signer(key_of(key.public_key(), PEM_KEY_MADE), sign_digest)


def smime_signer(path: Path) -> FileSigner:
    """Return a signer of S/MIME files, as `openpgp_signer`."""
    key, sign_digest = _file_key(path)
    return FileSigner(own_smime_certificate(key.public_key(), path.stem, PEM_KEY_MADE, sign_digest), sign_digest)


def _file_key(path: Path) -> tuple[RSAPrivateKey, Callable[[bytes], bytes]]:
    key = load_private_key(path)
    numbers = key.public_key().public_numbers()
    check_rsa_numbers(f"the signing key {path}", numbers.n, numbers.e)
    scheme = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
    return key, lambda digest: key.sign(digest, *scheme)


def seal_file(
    path: Path,
    out: Path,
    recipients: list[Receiver],
    kind: str | OpenPgp | Smime,
    batch: str,
    now: datetime,
    watch: Watch = unwatched,
) -> SealedFile:
    """Seal one file of this machine into the folder `out`."""
    if not path.is_file():
        raise FileProblem(f"{path} is not a file", "give the path of the plaintext")
    file = FileInfo(batch=batch, name=path.name, plaintext_bytes=path.stat().st_size, created=now)
    sealing = seal(watch(path, read_chunks(path)), file=file, recipients=recipients, format=kind)
    with writing(out / sealing.sealed_name) as sink:
        sink.writelines(sealing)
    result = sealing.result
    if result.nonce:
        with writing(out / result.key_name) as sink:
            sink.write(result.key_file)
    return result


def write_manifest(
    out: Path,
    batch: str,
    sealed: list[SealedFile],
    signer: Callable[[bytes], bytes],
    now: datetime,
    signing_key: str = BY_HAND,
) -> Path:
    """Write keys.json, the signature and, last, the manifest of a batch; return the manifest's path."""
    partner, feed = batch.split(".")[:2] if batch.count(".") >= 3 else (BY_HAND, BY_HAND)
    keys = keys_json(batch, sealed)
    manifest = Manifest(
        batch=batch,
        partner=partner,
        feed=feed,
        sequence=0,
        window_start=now,
        window_end=now,
        created=now,
        files=tuple(ManifestFile.of(each, rows=None) for each in sealed),
        keys_sha256=hashlib.sha256(keys).hexdigest(),
        previous_manifest_sha256=None,
        record_head=None,
        signing_key=signing_key,
    ).to_bytes()
    for suffix, content in (("keys.json", keys), ("manifest.json.sig", signer(manifest)), ("manifest.json", manifest)):
        with writing(out / f"{batch}.{suffix}") as sink:
            sink.write(content)
    return out / f"{batch}.manifest.json"


def sign(data: bytes, key: RSAPrivateKey) -> bytes:
    """Return RSA-PSS-SHA256 as Key Vault makes it."""
    return key.sign(data, PSS, hashes.SHA256())


def open_main(argv: list[str]) -> int:
    """`./sealift open`."""
    parser = argparse.ArgumentParser(
        "sealift open", description="Open a sealed file, or a batch by its folder or manifest.json."
    )
    parser.add_argument("path", type=Path, metavar="FILE", help="a sealed file, a manifest, or a batch's folder")
    parser.add_argument("--key", type=Path, required=True, metavar="KEY.pem", help="the recipient's private RSA key")
    parser.add_argument("--out", type=Path, required=True, help="file or folder; for a batch a folder")
    parser.add_argument(
        "--sender", type=Path, metavar="CERT.pem", help="verify a batch with the sender's certificate or public key"
    )
    arguments = parser.parse_args(argv)
    path: Path = arguments.path
    if not path.exists():
        raise FileProblem(
            f"{path} is not there", "give a sealed file, a batch's manifest.json, or the folder that holds it"
        )
    is_batch = path.is_dir() or path.name.endswith("manifest.json")
    if is_batch and not arguments.sender:
        parser.error("a batch is opened only when its manifest was verified: give --sender CERT.pem")
    key = load_private_key(arguments.key)
    if not is_batch:
        with _progress([path]) as watch:
            print(f"opened {open_one(path, key, arguments.out, watch)}")
        print("note: nothing proves who sealed this file; a batch's signed manifest does", file=sys.stderr)
        return 0
    batch = verify_batch(path, load_verification_key(read_file(arguments.sender)))
    with _progress([batch.folder / each.sealed_name for each in batch.manifest.files]) as watch:
        for opened in open_batch(batch, key, arguments.out, watch):
            print(f"opened {opened}")
    for name in batch.unlisted:
        print(f"note: {name} is not in this manifest and was not touched", file=sys.stderr)
    return 0


def inspect_main(argv: list[str]) -> int:
    """`./sealift inspect`."""
    parser = argparse.ArgumentParser(
        "sealift inspect", description="Show what a sealed file or manifest says; needs no key."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a sealed file or a manifest")
    path: Path = parser.parse_args(argv).file
    if not path.is_file():
        raise FileProblem(f"{path} is not a file", "give a sealed file or a manifest.json")
    for name, value in describe(path):
        print(f"{name:<16} {value}")
    return 0


def describe(path: Path) -> list[tuple[str, str]]:
    """Return what can be read of a sealed file or manifest without a key. Raises MalformedHeader, MalformedManifest."""
    if path.name.endswith("manifest.json"):
        manifest = Manifest.from_bytes(read_file(path))
        window = f"{manifest.window_start:%Y-%m-%d %H:%M} to {manifest.window_end:%Y-%m-%d %H:%M} UTC"
        files = [
            ("file", f"{each.sealed_name}  {each.format}  {each.plaintext_bytes:,} bytes") for each in manifest.files
        ]
        lines = [("batch", manifest.batch), ("sequence", f"{manifest.sequence}"), ("window", window), *files]
        lines += [("sum", f"{each.column}  {each.sum}") for each in manifest.sums]
        return [*lines, ("signing key", manifest.signing_key), ("note", "the signature was not checked: open does")]
    if path.suffix == ".cms":
        with path.open("rb") as file:
            envelope = read_envelope(file.read)
            expected = file.tell() + envelope.plaintext_bytes + 18
        keys = [("recipient", f"RSA-OAEP-256, {len(each) * 8} bits") for each in envelope.wrapped_keys]
        return [("format", "cms"), ("plaintext", f"{envelope.plaintext_bytes:,} bytes"), _whole(path, expected), *keys]
    with path.open("rb") as file:
        start = file.read(len(ARMOURED))
    if path.suffix == ".p7m" or start[:2] == b"\x30\x80" or start.startswith((b"-----BEGIN CMS-----", b"MIME-Version")):
        return _describe_smime(path)
    if start == ARMOURED:
        return [("format", "openpgp, in ASCII armour"), ("size", f"{path.stat().st_size:,} bytes"), ARMOUR_NOTE]
    if start[:1] == b"\xc1":
        return _describe_openpgp(path)
    header = read_header(read_chunks(path))
    body = 56 + header.file.plaintext_bytes + 16 * (header.file.plaintext_bytes // 16384 + 1)
    return [
        ("format", "native, version 1, cobblestone-256"),
        ("batch", header.file.batch),
        ("name", header.file.name),
        ("created", f"{header.file.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("plaintext", f"{header.file.plaintext_bytes:,} bytes"),
        _whole(path, len(header.to_bytes()) + body),
        *(("recipient", f"{each.alg}  {each.kid}  x5t#S256 {each.thumbprint}") for each in header.recipients),
    ]


def _describe_smime(path: Path) -> list[tuple[str, str]]:
    with path.open("rb") as file:
        inside = Unarmoured(file.read, path.stat().st_size)
        envelope = read_smime_envelope(inside.read)
    way = {"pkcs1v15": "RSA with PKCS#1 v1.5", "oaep": "RSA-OAEP-256"}[envelope.key_transport]
    keys = [("recipient", f"{way}, {len(each) * 8} bits") for each in envelope.wrapped_keys]
    form = ("format", f"smime, EnvelopedData with AES-256-CBC; armour: {inside.kind}")
    return [form, ("size", f"{path.stat().st_size:,} bytes"), *keys, SMIME_NOTE]


def _describe_openpgp(path: Path) -> list[tuple[str, str]]:
    with path.open("rb") as file:
        message = read_message(file.read)
    keys = [
        ("recipient", f"key {key_id}, {ALGORITHM_NAMES.get(algorithm, f'algorithm {algorithm}')}")
        for key_id, algorithm in message.key_ids
    ]
    packets = ", ".join(["key packet (1)"] * len(keys) + ["encrypted with integrity check (18, version 1)"])
    size = ("size", f"{path.stat().st_size:,} bytes, {message.head_bytes:,} of them key packets")
    return [("format", "openpgp"), ("packets", packets), size, *keys, OPENPGP_NOTE]


def _whole(path: Path, expected: int) -> tuple[str, str]:
    size = path.stat().st_size
    return "size", f"{size:,} bytes, " + (
        "as expected" if size == expected else f"but {expected:,} are expected: it is cut or damaged"
    )


def load_private_key(path: Path) -> RSAPrivateKey:
    """Read a PEM private RSA key; a key with a password asks for it (or takes SEALIFT_KEY_PASSWORD)."""
    data = read_file(path)
    try:
        try:
            key = serialization.load_pem_private_key(data, None)
        except TypeError:
            key = serialization.load_pem_private_key(data, _password(path))
    except ValueError as error:
        raise FileProblem(
            f"{path} is not a PEM private key, or the password is wrong", f"./sealift keys check {path}"
        ) from error
    if not isinstance(key, RSAPrivateKey):
        raise FileProblem(f"{path} is not an RSA key", "files are sealed for RSA keys only")
    return key


def _password(path: Path) -> bytes:
    try:
        return (os.environ.get("SEALIFT_KEY_PASSWORD") or getpass.getpass(f"password of {path}: ")).encode()
    except EOFError:
        raise FileProblem(
            f"{path} has a password, and there is no terminal to type it", "set SEALIFT_KEY_PASSWORD"
        ) from None


def read_file(path: Path) -> bytes:
    if not path.is_file():
        raise FileProblem(f"{path} is not a file", "check the path")
    return path.read_bytes()


@contextmanager
def _progress(paths: Iterable[Path]) -> Iterator[Watch]:
    """Show progress on a terminal while large files are read."""
    if (
        not sys.stderr.isatty()
        or max((each.stat().st_size for each in paths if each.exists()), default=0) < SHOW_PROGRESS_FROM_BYTES
    ):
        yield unwatched
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def watch(path: Path, chunks: Iterable[bytes]) -> Iterator[bytes]:
            task = progress.add_task(path.name, total=path.stat().st_size)
            for chunk in chunks:
                progress.update(task, advance=len(chunk))
                yield chunk

        yield watch

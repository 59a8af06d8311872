#!/usr/bin/env python3
"""Open a batch of sealed files: python3 open.py FOLDER --key PRIVATE.pem --sender SENDER.pem --out DIR

Needs Python 3.8 and `cryptography` 38 or newer, nothing else. FORMAT.md is the specification; this program was written
from it and shares no code with the sender. In this order:

  1. the manifest's signature is checked with the sender's certificate (or public key), which you got out of band;
  2. keys.json and every sealed file must be there, with the size and SHA-256 of the manifest;
  3. each file is decrypted into NAME.part. When the last byte of all files was authenticated, and the bytes that were
     decrypted had the size and SHA-256 of the manifest (a file may be replaced after step 2), all are renamed to NAME.

With --verify it does 1 and 2 only, and needs no private key: for OpenPGP files, which gpg opens (OPENPGP.md).

Nothing is opened before 1 and 2 hold for the whole batch, and nothing stays when one file is refused. With --feed it takes
this feed only; with --state FILE it remembers the last batch of each feed and refuses an older, a repeated or a skipped one
(FORMAT.md, section 10). Exit codes: 0 opened, 1 refused, 2 wrong usage, 3 a file could not be read or written.
"""

import argparse
import base64
import binascii
import getpass
import hashlib
import hmac
import io
import json
import os
import re
import secrets
import signal
import stat
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK = 16384
BLOCK = 1024 * 1024
MAX_HEADER = 65536
MAX_DOCUMENT = 33554432
MAX_FILES = 10000
MAX_RECIPIENTS = 8
MAX_PLAINTEXT = {"native": 2**52, "detached": 2**36 - 32, "cms": 2**30, "openpgp": 2**52, "smime": 2**52}
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
PKCS1 = padding.PKCS1v15()
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


class Refused(Exception):
    """The batch is not opened; `kind` is one word for scripts."""

    def __init__(self, kind, text):
        super().__init__(f"{kind}: {text}")
        self.kind, self.text = kind, text


def cannot_open():
    """One text for another key, a changed file and a cut file: an attacker learns nothing from it."""
    return Refused("cannot-open", "the file is for another key, or it was changed or cut")


# ---------------------------------------------------------------------------------------- strict JSON (FORMAT.md, 3)

DEVICE = r"(?!(?i:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|COM[1-9]|LPT[1-9]) *(?:\.|$))"
NAME = DEVICE + r'(?![. ])[^\x00-\x1f\x7f-\U0010ffff/\\":*?<>|]{1,200}(?<![. ])(?<!\.[Pp][Aa][Rr][Tt])'
BATCH = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
KID = r"[!#-\[\]-~]{1,256}"
HASH = r"[0-9a-f]{64}"
THUMBPRINT = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"  # 256 bits: the last two of 258 are zero
COLUMN = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
DECIMAL = r"(?!-0$)-?(0|[1-9][0-9]{0,99})(\.[0-9]{0,11}[1-9])?"
TIME_FORM = r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
BASE64 = r"[A-Za-z0-9+/]*={0,2}"


def moment(value):
    """A time of the calendar: there is no 30 February."""
    if not (isinstance(value, str) and re.fullmatch(TIME_FORM, value)):
        return False
    year, month, day = int(value[:4]), int(value[5:7]), int(value[8:10])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= (29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 2] if month > 1 else True


def or_null(rule):
    return lambda value: value is None or check(value, rule)


def array(rule, smallest, largest):
    return lambda value: (
        isinstance(value, list) and smallest <= len(value) <= largest and all(check(v, rule) for v in value)
    )


def integer(value):
    return type(value) is int and 0 <= value < 2**53


def wrapped_key(smallest, largest):
    def follows(value):
        if not (isinstance(value, str) and len(value) <= 1400 and re.fullmatch(BASE64, value) and len(value) % 4 == 0):
            return False
        data = base64.b64decode(value)
        return smallest <= len(data) <= largest and base64.b64encode(data).decode() == value

    return follows


def either(*rules):
    return lambda value: any(check(value, rule) for rule in rules)


def exactly(wanted):
    return lambda value: type(value) is type(wanted) and value == wanted


def check(value, rule):
    """A rule is a pattern for a text, a dict for an object with exactly these members, or a function."""
    if isinstance(rule, str):
        return isinstance(value, str) and re.fullmatch(rule, value) is not None
    if isinstance(rule, dict):
        return isinstance(value, dict) and value.keys() == rule.keys() and all(check(value[k], rule[k]) for k in rule)
    return rule(value)


RECIPIENT = {"alg": "RSA-OAEP-256", "kid": KID, "wrapped_key": wrapped_key(384, 1024), "x5t#S256": THUMBPRINT}
PKCS1_RECIPIENT = {**RECIPIENT, "alg": "RSA1_5"}
PGP_RECIPIENT = {**RECIPIENT, "alg": "OpenPGP-PKESK", "wrapped_key": wrapped_key(64, 1036)}
RECIPIENTS = array(RECIPIENT, 1, MAX_RECIPIENTS)
HEADER = {
    "batch": BATCH, "body": "cobblestone-256", "created": moment, "name": NAME, "plaintext_bytes": integer,
    "recipients": RECIPIENTS, "type": "sealift-file", "version": exactly(1),
}  # fmt: skip
DETACHED = {"key_name": NAME, "key_sha256": HASH, "nonce": r"[0-9a-f]{24}", "tag": r"[0-9a-f]{32}"}
FILE = {
    "detached": or_null(DETACHED), "format": "native|detached|cms|openpgp|smime", "name": NAME, "plaintext_bytes": integer,
    "recipients": array({"kid": KID, "x5t#S256": THUMBPRINT}, 1, MAX_RECIPIENTS), "rows": or_null(integer),
    "sealed_bytes": integer, "sealed_name": NAME, "sealed_sha256": HASH,
}  # fmt: skip
SUMS = array({"column": COLUMN, "sum": DECIMAL}, 0, 256)
TOTALS = {"files": integer, "plaintext_bytes": integer, "rows": or_null(integer), "sealed_bytes": integer}
MANIFEST = {
    "batch": BATCH, "created": moment, "feed": WORD, "files": array(FILE, 0, MAX_FILES), "keys_sha256": HASH,
    "partner": WORD, "previous_manifest_sha256": or_null(HASH), "record_head": or_null(HASH), "sequence": integer,
    "signature": "RSA-PSS-SHA256", "signing_key": KID, "totals": TOTALS, "type": "sealift-manifest",
    "version": exactly(1), "window_end": moment, "window_start": moment,
}  # fmt: skip
WITH_SUMS = {
    **MANIFEST, "files": array({**FILE, "sums": SUMS}, 1, MAX_FILES), "totals": {**TOTALS, "sums": SUMS}, "version": exactly(2),
}  # fmt: skip
KEYS_RECIPIENTS = either(RECIPIENTS, *(array(each, 1, MAX_RECIPIENTS) for each in (PGP_RECIPIENT, PKCS1_RECIPIENT)))
ALGORITHMS = {"openpgp": ("OpenPGP-PKESK",), "smime": ("RSA1_5", "RSA-OAEP-256")}  # of any other: RSA-OAEP-256
KEYS_FILE = {"name": NAME, "recipients": KEYS_RECIPIENTS, "sealed_name": NAME, "sealed_sha256": HASH}
KEYS = {"batch": BATCH, "files": array(KEYS_FILE, 0, MAX_FILES), "type": "sealift-keys", "version": exactly(1)}


def parse(data, rule, kind, what):
    """Return the object of a canonical JSON text that follows the rule; cheap checks come before the parser."""
    depth = deepest = 0
    if re.search(rb"[^\x20-\x5b\x5d-\x7e]", data) is None:
        for found in re.finditer(rb'"[^"]*"?|[\[{]|[\]}]', data):
            depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
            deepest = max(deepest, depth)
        if deepest <= 5:
            try:
                value = json.loads(data)
                if json.dumps(value, sort_keys=True, separators=(",", ":")).encode() == data and check(value, rule):
                    return value
            except ValueError:
                pass
    raise Refused(kind, f"{what} is not written as FORMAT.md says")


# -------------------------------------------------------------------------------------- the batch (FORMAT.md, 8 to 10)


def open_regular(path):
    """Open for reading what is a regular file; a pipe or device would give bytes without an end, or wait for ever."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(str(path), flags)
    except FileNotFoundError:
        raise Refused("incomplete", f"{path.name} cannot be read: it is not there") from None
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise Refused("incomplete", f"{path.name} cannot be read: it is no regular file")
    return file


def read_small(path, largest, kind):
    """Return a small file's bytes; never reads more than one byte too many, however the file grows."""
    with open_regular(path) as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise Refused(kind, f"{path.name} is larger than any real one")
    return data


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def find_batch(path, batch):
    """Return the folder and the file names' beginning of a batch, given its manifest or the folder that it lies in."""
    suffix = "manifest.json"
    if path.name.endswith(suffix):
        if not path.is_file():
            raise Refused("incomplete", f"there is no {path.name}: the batch is not complete yet")
        return path.parent, path.name[: -len(suffix)]
    if not path.is_dir():
        raise Refused("usage", f"{path} is neither a folder nor a manifest.json")
    found = [n[: -len(suffix)] for n in names_in(path) if n == suffix or n.endswith("." + suffix)]
    if batch:
        found = [prefix for prefix in found if prefix == batch + "."]
    if not found:
        raise Refused("incomplete", "there is no manifest: the batch is not complete yet")
    if len(found) > 1:
        names = ", ".join(prefix.rstrip(".") for prefix in found[:5])
        raise Refused("usage", f"the folder holds {len(found)} batches; choose one with --batch: {names}")
    return path, found[0]


def read_batch(folder, prefix, sender):
    """Verify and return the manifest, the recipients per sealed name, and the manifest's SHA-256."""
    signed = read_small(folder / (prefix + "manifest.json"), MAX_DOCUMENT, "signature")
    signature = read_small(folder / (prefix + "manifest.json.sig"), 1024, "signature")
    try:
        sender.verify(signature, signed, PSS, hashes.SHA256())
    except InvalidSignature:
        raise Refused("signature", "the manifest was not signed by this sender, or was changed") from None
    manifest = parse(signed, either(MANIFEST, WITH_SUMS), "manifest", "the manifest")
    check_manifest(manifest, prefix)
    keys_bytes = read_small(folder / (prefix + "keys.json"), MAX_DOCUMENT, "keys")
    if hashlib.sha256(keys_bytes).hexdigest() != manifest["keys_sha256"]:
        raise Refused("keys", "keys.json is not the one that the manifest names")
    keys = parse(keys_bytes, KEYS, "keys", "keys.json")
    check_keys(keys, manifest)
    recipients = {file["sealed_name"]: file["recipients"] for file in keys["files"]}
    return manifest, recipients, hashlib.sha256(signed).hexdigest()


def check_manifest(manifest, prefix) -> None:
    files = manifest["files"]
    names = [f["name"].lower() for f in files]
    stored = [f["sealed_name"].lower() for f in files] + [
        f["detached"]["key_name"].lower() for f in files if f["detached"]
    ]
    rows = [f["rows"] for f in files]
    totals = {
        "files": len(files),
        "plaintext_bytes": sum(f["plaintext_bytes"] for f in files),
        "rows": None if None in rows else sum(rows),
        "sealed_bytes": sum(f["sealed_bytes"] for f in files),
    }
    if manifest["version"] == 2:
        totals["sums"] = manifest["totals"]["sums"]
    for wrong, text in (
        (prefix and prefix != manifest["batch"] + ".", "the manifest is that of batch {}".format(manifest["batch"])),
        (manifest["window_start"] > manifest["window_end"], "its window ends before it starts"),
        (len(set(names)) != len(names) or len(set(stored)) != len(stored), "it names a file twice"),
        (
            totals != manifest["totals"] or (manifest["version"] == 2 and not sums_add_up(manifest)),
            "its totals are not the sums of its files",
        ),
        (
            any((f["format"] == "detached") != (f["detached"] is not None) for f in files),
            "a detached file lacks its tag",
        ),
        (
            any(f["plaintext_bytes"] > MAX_PLAINTEXT[f["format"]] for f in files),
            "a file is larger than its format holds",
        ),
    ):
        if wrong:
            raise Refused("manifest", text)


def sums_add_up(manifest):
    """Every file has the sums of the same columns, in the order of their names, and the totals are exactly their sums."""
    totals, files = manifest["totals"]["sums"], [f["sums"] for f in manifest["files"]]
    columns = [each["column"] for each in totals]
    if columns != sorted(set(columns)) or any([each["column"] for each in sums] != columns for sums in files):
        return False
    return all(
        Fraction(total["sum"]) == sum(Fraction(sums[i]["sum"]) for sums in files) for i, total in enumerate(totals)
    )


def check_keys(keys, manifest) -> None:
    wrong = keys["batch"] != manifest["batch"] or len(keys["files"]) != len(manifest["files"])
    for mine, listed in zip(keys["files"], manifest["files"]):  # noqa: B905  # Python 3.8; the lengths were compared
        wrong = wrong or any(mine[member] != listed[member] for member in ("name", "sealed_name", "sealed_sha256"))
        wrong = wrong or [{k: r[k] for k in ("kid", "x5t#S256")} for r in mine["recipients"]] != listed["recipients"]
        wrong = wrong or len({r["x5t#S256"] for r in mine["recipients"]}) != len(mine["recipients"])
        wrong = wrong or mine["recipients"][0]["alg"] not in ALGORITHMS.get(listed["format"], ("RSA-OAEP-256",))
    if wrong:
        raise Refused("keys", "keys.json does not fit the manifest")


def check_files(folder, manifest) -> None:
    """Every listed file is there, with its size and hash. Files that are not listed are never opened."""
    for file in manifest["files"]:
        wanted = [(file["sealed_name"], file["sealed_bytes"], file["sealed_sha256"])]
        if file["detached"]:
            wanted.append((file["detached"]["key_name"], None, file["detached"]["key_sha256"]))
        for name, size, digest in wanted:
            path = folder / name
            if not path.is_file():
                raise Refused("incomplete", f"{name} is in the manifest but not in the folder")
            found, found_digest = measure(path, 1024 if size is None else size)
            if (size is not None and found != size) or found_digest != digest:
                raise Refused("file", f"{name} is not the file that the manifest names")


def measure(path, largest):
    """Return size and SHA-256 of a file of which no more than one byte too many is read."""
    digest, done = hashlib.sha256(), 0
    with open_regular(path) as file:
        while done <= largest:
            block = file.read(min(BLOCK, largest + 1 - done))
            if not block:
                break
            digest.update(block)
            done += len(block)
    return done, digest.hexdigest()


def unlisted(folder, prefix, manifest):
    listed = {prefix + "manifest.json", prefix + "manifest.json.sig", prefix + "keys.json"}
    for file in manifest["files"]:
        listed.add(file["sealed_name"])
        if file["detached"]:
            listed.add(file["detached"]["key_name"])
    return [n for n in names_in(folder) if n not in listed]


# ------------------------------------------------------------------------------------------ the files (FORMAT.md, 4 to 7, 18)


def unwrap(wrapped_keys, key, scheme=OAEP):
    """Return the file key; random bytes when none unwraps, so that the failure looks the same as for a changed file."""
    fitting = [wrapped for wrapped in wrapped_keys if len(wrapped) == (key.key_size + 7) // 8]
    if scheme is PKCS1 and len(fitting) > 1:
        fitting = [wrapped for wrapped in fitting if is_padded_for(wrapped, key)]
    for wrapped in fitting:
        try:
            file_key = key.decrypt(wrapped, scheme)
        except ValueError:
            continue
        if len(file_key) == 32:
            return file_key
    return os.urandom(32)


def is_padded_for(wrapped, key):
    """Return whether a file key was wrapped by PKCS#1 v1.5 for this key: of one for another key, openssl makes up what is in it.

    The number is blinded, and nothing is reported: what is unwrapped here was named by a signed manifest.
    """
    numbers = key.private_numbers()
    n, blinding = numbers.public_numbers.n, secrets.randbelow(1 << 2048) + 2
    hidden = int.from_bytes(wrapped, "big") * pow(blinding, numbers.public_numbers.e, n) % n
    left, right = pow(hidden, numbers.dmp1, numbers.p), pow(hidden, numbers.dmq1, numbers.q)
    opened = (right + numbers.q * (numbers.iqmp * (left - right) % numbers.p)) * pow(blinding, -1, n) % n
    block = opened.to_bytes(len(wrapped), "big")
    return block[:2] == b"\0\2" and block.find(b"\0", 2) == len(block) - 33


class Source:
    """The bytes of a sealed file, hashed as they are read: what was checked is what was opened."""

    def __init__(self, file):
        self.file, self.position, self.digest = file, 0, hashlib.sha256()

    def read(self, count):
        part = self.file.read(count)
        self.position += len(part)
        self.digest.update(part)
        return part


def open_native(source, manifest, file, recipients, key):
    """Yield authenticated plaintext only."""
    prefix = source.read(12)
    if len(prefix) < 12 or prefix[:8] != b"SEALIFT\x01":
        raise Refused("header", "it does not begin with SEALIFT and version 1")
    length = int.from_bytes(prefix[8:], "big")
    if not 2 <= length <= MAX_HEADER:
        raise Refused("header", f"it claims a header of {length} bytes")
    encoded = source.read(length)
    if len(encoded) != length:
        raise Refused("header", "the file ends in its header")
    header = parse(encoded, HEADER, "header", "the header")
    if len({r["x5t#S256"] for r in header["recipients"]}) != len(header["recipients"]):
        raise Refused("header", "it names a recipient twice")
    expected = {"batch": manifest["batch"], "name": file["name"], "plaintext_bytes": file["plaintext_bytes"]}
    if any(header[member] != value for member, value in expected.items()):
        raise Refused("header", "it is the header of another file")
    if header["recipients"] != recipients:
        raise Refused("header", "its recipients are not those of keys.json")
    file_key = unwrap([base64.b64decode(r["wrapped_key"]) for r in header["recipients"]], key)
    context = hashlib.sha256(prefix + encoded).digest()
    return decrypt_chunks(source, file_key, context, file["plaintext_bytes"])


def decrypt_chunks(source, file_key, context, plaintext_bytes):
    """The body is C2SP chunked-encryption with AES-256-GCM."""
    salt, commitment = source.read(24), source.read(32)
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + context
    keys = HKDFExpand(hashes.SHA512(), 76, info).derive(file_key)
    if not hmac.compare_digest(keys[44:], commitment):
        raise cannot_open()
    cipher, base, index, done = AESGCM(keys[:32]), int.from_bytes(keys[32:44], "big"), 0, 0
    while True:
        sealed = source.read(CHUNK + 16)
        try:
            plaintext = cipher.decrypt((base ^ index).to_bytes(12, "big"), sealed, None)
        except (InvalidTag, ValueError):
            raise cannot_open() from None
        done += len(plaintext)
        if done > plaintext_bytes:
            raise cannot_open()
        yield plaintext
        if len(sealed) < CHUNK + 16:
            break
        index += 1
    if done != plaintext_bytes:
        raise cannot_open()


def open_detached(source, file, recipients, key):
    """Yield plaintext; the SHA-256 of the signed manifest held before, the tag is checked at the end as well."""
    nonce, tag = bytes.fromhex(file["detached"]["nonce"]), bytes.fromhex(file["detached"]["tag"])
    file_key = unwrap([base64.b64decode(r["wrapped_key"]) for r in recipients], key)
    return decrypt_message(source, file_key, nonce, file["plaintext_bytes"], tag)


def open_cms(source, file, key):
    """Read AuthEnvelopedData in DER, then its one GCM message."""
    end = der(source, b"\x30", "ContentInfo", 2**32) + source.position
    der_is(source, "06 0b 2a864886f70d0109100117", "authEnvelopedData")
    der(source, b"\xa0", "content", end=end)
    der(source, b"\x30", "AuthEnvelopedData", end=end)
    der_is(source, "02 01 00", "version 0")
    wrapped = cms_recipients(source.read(der(source, b"\x31", "recipientInfos")))
    end -= 18  # the tag as OCTET STRING
    der(source, b"\x30", "authEncryptedContentInfo", end=end)
    der_is(source, "06 09 2a864886f70d010701 30 1e 06 09 60864801650304012e 30 11 04 0c", "data, aes256-GCM")
    nonce = source.read(12)
    der_is(source, "02 01 10", "a tag of 16 bytes")
    if der(source, b"\x80", "ciphertext", end=end) != file["plaintext_bytes"]:
        raise Refused("header", "its size is not that of the manifest")
    return decrypt_message(source, unwrap(wrapped, key), nonce, file["plaintext_bytes"], None)


def der(source, tag, what, largest=MAX_HEADER, end=None):
    """Read one tag and definite length, in as few bytes as it takes; return the length. `end`: where the element ends."""
    found, first = source.read(1), source.read(1)
    if found == tag and first and (first[0] < 0x80 or 0x81 <= first[0] <= 0x84):
        length = first[0] if first[0] < 0x80 else int.from_bytes(source.read(first[0] - 0x80), "big")
        shortest = 0 if first[0] < 0x80 else max(0x80, 1 << 8 * (first[0] - 0x81))
        if length >= shortest and (length <= largest if end is None else source.position + length == end):
            return length
    raise Refused("header", f"it is not CMS in DER: {what} is wanted")


def der_is(source, wanted, what) -> None:
    if source.read(len(bytes.fromhex(wanted))) != bytes.fromhex(wanted):
        raise Refused("header", f"it is not CMS as FORMAT.md says: {what} is wanted")


SHA256_OID = "30 0d 06 09 608648016503040201 05 00"
CMS_OAEP = bytes.fromhex(
    "30 3c 06 09 2a864886f70d010107 30 2f a0 0f" + SHA256_OID + "a1 1c 30 1a 06 09 2a864886f70d010108" + SHA256_OID
)


CMS_PKCS1 = bytes.fromhex("30 0d 06 09 2a864886f70d010101 05 00")


def cms_recipients(data, algorithm=CMS_OAEP):
    """Return the wrapped keys of all recipients: each ends with the algorithm and an OCTET STRING."""
    recipients, wrapped, source = [], [], Source(io.BytesIO(data))
    while source.position < len(data):
        end = der(source, b"\x30", "a recipient")
        recipients.append(source.read(end))
        inner = Source(io.BytesIO(recipients[-1]))
        der_is(inner, "02 01 00", "recipient version 0")
        inner.read(der(inner, b"\x30", "issuer and serial number"))
        if inner.read(len(algorithm)) != algorithm:
            raise Refused("header", "a recipient of the CMS file has its key wrapped in another way")
        wrapped.append(inner.read(der(inner, b"\x04", "a wrapped key", end=end)))
        if len(recipients[-1]) != end or not 384 <= len(wrapped[-1]) <= 1024:
            raise Refused("header", "a recipient of the CMS file is malformed")
    if not 1 <= len(wrapped) <= MAX_RECIPIENTS or recipients != sorted(recipients):
        raise Refused("header", f"the CMS file has {len(wrapped)} recipients, or they are not in DER order")
    return wrapped


MIME_HEAD = (
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
    b"Content-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="smime.p7m"\r\n\r\n'
)
ARMOURS = {
    b"-": (b"-----BEGIN CMS-----\n", b"-----END CMS-----\n", b"\n"),
    b"M": (MIME_HEAD, b"", b"\r\n"),
}
SEGMENT = 65536
SIGNED_HEAD = bytes.fromhex(
    "3080 0609 2a864886f70d010702 a080 3080 020101 310f 300d 0609 608648016503040201 0500 3080 0609 2a864886f70d010701 a080 2480"
)


class Pieces:
    """Exact reads from bytes that come in pieces; `position` is how many were read."""

    def __init__(self, pieces):
        self.pieces, self.ahead, self.position = iter(pieces), b"", 0

    def read(self, count):
        parts, have = [self.ahead], len(self.ahead)
        while have < count:
            piece = next(self.pieces, None)
            if piece is None:
                break
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        self.ahead, data = data[count:], data[:count]
        self.position += len(data)
        return data


def without_armour(source, sealed_bytes):
    """Return what is inside, and how many bytes of it there are, or with armour up to two more than in truth."""
    start = source.read(1)
    if start not in ARMOURS:
        return Pieces(rest_of(start, source)), sealed_bytes
    head, tail, end = ARMOURS[start]
    if source.read(len(head) - 1) != head[1:]:
        raise Refused("header", "its armour does not begin as FORMAT.md says")
    text_bytes = sealed_bytes - len(head) - len(tail)
    lines = -(-text_bytes // (64 + len(end)))
    return Pieces(lines_of(source, text_bytes, tail, end)), (text_bytes - lines * len(end)) // 4 * 3


def rest_of(start, source):
    while start:
        yield start
        start = source.read(SEGMENT)


def lines_of(source, left, tail, end):
    while left > 0:
        text = source.read(min(left, 1024 * (64 + len(end))))
        left -= len(text)
        lines = text.split(end)
        sound = text.endswith(end) and all(len(line) == 64 for line in lines[: -2 if left == 0 else -1])
        try:
            data = base64.b64decode(b"".join(lines), validate=True)
            sound = sound and base64.b64encode(data) == b"".join(lines)
        except binascii.Error:
            sound = False
        if not sound or (left == 0 and tail and source.read(len(tail) + 1) != tail):
            raise Refused("header", "its armour is not base64 in lines of 64 characters")
        yield data


def open_smime(source, file, recipients, key):
    """Read EnvelopedData in BER; the manifest, which holds its SHA-256, is all that proves its content."""
    inside, file_bytes = without_armour(source, file["sealed_bytes"])
    der_is(inside, "3080 0609 2a864886f70d010703 a080 3080 020100", "envelopedData, version 0")
    infos = inside.read(der(inside, b"\x31", "recipientInfos"))
    is_pkcs1 = recipients[0]["alg"] == "RSA1_5"
    wrapped = cms_recipients(infos, CMS_PKCS1 if is_pkcs1 else CMS_OAEP)
    der_is(inside, "3080 0609 2a864886f70d010701 301d 0609 60864801650304012a 0410", "data, aes256-CBC")
    iv = inside.read(16)
    der_is(inside, "a080", "segments")
    unsigned = (file["plaintext_bytes"] // 16 + 1) * 16
    is_signed = file_bytes - inside.position - unsigned - 5 * (unsigned // SEGMENT) > 64
    file_key = unwrap(wrapped, key, PKCS1 if is_pkcs1 else OAEP)
    content = decrypt_cbc(Cipher(algorithms.AES(file_key), modes.CBC(iv)).decryptor(), inside)
    return counted(signed_content(content) if is_signed else content, file["plaintext_bytes"])


def segments(source):
    """Yield what is in OCTET STRINGs of 65,536 bytes, of which the last may be shorter, up to two zero bytes."""
    before = None
    while True:
        start = source.read(2)
        if start == b"\0\0":
            return
        if len(start) != 2 or start[0] != 0x04 or not (start[1] < 0x80 or 0x81 <= start[1] <= 0x83):
            raise cannot_open()
        more = source.read(start[1] - 0x80) if start[1] > 0x80 else b""
        size = int.from_bytes(more, "big") if start[1] > 0x80 else start[1]
        fits = size <= SEGMENT if before is None else 0 < size <= SEGMENT == before
        if not fits or (start[1] > 0x80 and size < max(0x80, 1 << 8 * (start[1] - 0x81))):
            raise cannot_open()
        piece = source.read(size)
        if len(piece) != size:
            raise cannot_open()
        yield piece
        before = size


def decrypt_cbc(cipher, source):
    """Yield the content without its padding; the caller throws everything away unless this ends without an error."""
    last = b""
    for piece in segments(source):
        if len(piece) % 16:
            raise cannot_open()
        content = last + cipher.update(piece)
        last = content[-16:]
        yield content[:-16]
    if (
        source.read(9) != bytes(8)
        or len(last) != 16
        or not 1 <= last[-1] <= 16
        or last[-last[-1] :] != last[-1:] * last[-1]
    ):
        raise cannot_open()
    yield last[: -last[-1]]


def signed_content(content):
    """Yield what a SignedData holds. Its signature says no more than that of the manifest, and is left alone."""
    source = Pieces(content)
    if source.read(len(SIGNED_HEAD)) != SIGNED_HEAD:
        raise cannot_open()
    yield from segments(source)
    rest = source.read(65537)
    if len(rest) > 65536 or not rest.startswith(bytes(4)) or not rest.endswith(bytes(6)):
        raise cannot_open()


def counted(pieces, plaintext_bytes):
    done = 0
    for piece in pieces:
        done += len(piece)
        if done > plaintext_bytes:
            break
        yield piece
    if done != plaintext_bytes:
        raise cannot_open()


def decrypt_message(source, file_key, nonce, plaintext_bytes, tag):
    """Decrypt one AES-256-GCM message; the caller throws everything away unless this ends without an error."""
    message = Cipher(algorithms.AES(file_key), modes.GCM(nonce)).decryptor()
    missing = plaintext_bytes
    while missing:
        block = source.read(min(BLOCK, missing))
        if not block:
            raise cannot_open()
        missing -= len(block)
        yield message.update(block)
    if tag is None:
        if source.read(2) != b"\x04\x10":
            raise cannot_open()
        tag = source.read(16)
    if source.read(1) or len(tag) != 16:
        raise cannot_open()
    try:
        message.finalize_with_tag(tag)
    except InvalidTag:
        raise cannot_open() from None


def write_part(folder, manifest, file, recipients, key, out) -> None:
    """Open one file into out/NAME.part, which nobody else may have: it also keeps other runs away."""
    part = part_of(out, file)
    try:
        sink = part.open("xb")
    except FileExistsError:
        text = f"{part.name} is in the output folder: another run writes it, or a killed one left it; then delete it"
        raise Refused("usage", text) from None
    try:
        with sink:
            refuse_existing(out / file["name"])
            write_plaintext(folder, manifest, file, recipients, key, sink)
    except BaseException:
        part.unlink()
        raise


def part_of(out, file):
    return out / (file["name"] + ".part")


def refuse_existing(target) -> None:
    if os.path.lexists(target):
        raise Refused("usage", f"{target.name} is already in the output folder")


def write_plaintext(folder, manifest, file, recipients, key, sink) -> None:
    with open_regular(folder / file["sealed_name"]) as stored:
        source = Source(stored)
        if file["format"] == "native":
            pieces = open_native(source, manifest, file, recipients, key)
        elif file["format"] == "detached":
            wrapped = read_small(folder / file["detached"]["key_name"], 1024, "file")
            if wrapped != base64.b64decode(recipients[0]["wrapped_key"]):
                raise Refused("keys", "{} is not the key of keys.json".format(file["detached"]["key_name"]))
            pieces = open_detached(source, file, recipients, key)
        elif file["format"] == "smime":
            pieces = open_smime(source, file, recipients, key)
        else:
            pieces = open_cms(source, file, key)
        sink.writelines(pieces)
    if (source.position, source.digest.hexdigest()) != (file["sealed_bytes"], file["sealed_sha256"]):
        raise Refused("file", "it was replaced while it was opened")
    sink.flush()
    os.fsync(sink.fileno())


class State:
    """The last batch of each feed that was opened: a line `partner.feed sequence manifest-sha256` for each, in one file.

    FILE.part exists as long as this run does: two runs never judge by the same state.
    """

    LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,128}) (0|[1-9][0-9]{0,15}) ([0-9a-f]{64})")

    def __init__(self, path, accept=False, say=print):
        self.path, self.accept, self.say = path, accept, say
        self.part = path.with_name(path.name + ".part")
        self.known = {}

    def __enter__(self):
        try:
            self.part.open("xb").close()
        except FileExistsError:
            text = f"{self.part} is there: another run works with this state, or a killed one left it; then delete it"
            raise Refused("usage", text) from None
        try:
            lines = read_small(self.path, 1048576, "usage").decode("ascii", "replace").splitlines()
        except Refused as error:
            if os.path.lexists(self.path):
                self.part.unlink()
                raise Refused("usage", f"{self.path}: {error.text}") from None
            lines = []
        found = [self.LINE.fullmatch(line) for line in lines]
        if not all(found):
            self.part.unlink()
            raise Refused("usage", f"{self.path} is not a state file of these openers")
        self.known = {line[1]: (int(line[2]), line[3]) for line in found}
        return self

    def __exit__(self, *_):
        if self.part.exists():
            self.part.unlink()

    def check(self, feed, manifest, digest) -> None:
        """Refuse, or with `accept` only report, a batch that does not follow the last one."""
        sequence, previous = manifest["sequence"], manifest["previous_manifest_sha256"]
        if feed not in self.known:
            self.say(f"note: no batch of {feed} was opened with this state before: there is nothing to compare with")
            return
        last, last_digest = self.known[feed]
        if sequence > last + 1:
            text = f"sequence {sequence} follows {last}: {sequence - last - 1} before it were skipped"
        elif sequence < last:
            text = f"sequence {sequence} is older than {last}, the last that was opened"
        elif sequence == last:
            text = f"sequence {sequence} was opened before" + (
                ", from another manifest" if digest != last_digest else ""
            )
        elif previous not in (None, last_digest):
            text = f"sequence {sequence} names another manifest before it than the one that was opened"
        else:
            return
        if not self.accept:
            raise Refused("sequence", text)
        self.say(f"note: {text}")

    def remember(self, feed, manifest, digest) -> None:
        """Write the state anew, if this batch is newer than what it holds."""
        if feed in self.known and manifest["sequence"] <= self.known[feed][0]:
            return
        self.known[feed] = (manifest["sequence"], digest)
        with self.part.open("wb") as file:
            for name, (sequence, seen) in sorted(self.known.items()):
                file.write(f"{name} {sequence} {seen}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        self.part.replace(self.path)


def open_batch(path, key, sender, out, batch=None, strict=False, say=print, feed=None, state=None, verify=False):
    """Verify a whole batch, then open all its files or none; with `verify` it opens none. Returns the manifest."""
    folder, prefix = find_batch(path, batch)
    manifest, recipients, digest = read_batch(folder, prefix, sender)
    own = "{}.{}".format(manifest["partner"], manifest["feed"])
    previous = manifest["previous_manifest_sha256"] or "none"
    say(f"batch {manifest['batch']}: sequence {manifest['sequence']}, manifest {digest}, previous {previous}")
    if feed not in (None, own):
        raise Refused("feed", f"this is a batch of {own}, not of {feed}")
    if state:
        state.check(own, manifest, digest)
    check_files(folder, manifest)
    extra = unlisted(folder, prefix, manifest)
    if extra and strict:
        raise Refused("extra", f"{extra[0]} is in the folder but not in the manifest")
    if not verify:
        refuse_openpgp(manifest)
        out.mkdir(parents=True, exist_ok=True)
        open_files(folder, manifest, recipients, key, out)
    if state:
        state.remember(own, manifest, digest)
    for file in manifest["files"]:
        if verify:
            say(f"verified {file['sealed_name']} ({file['sealed_bytes']} bytes)")
        else:
            say(f"opened {file['name']} ({file['plaintext_bytes']} bytes)")
    if len(extra) == 1:
        say(f"note: {extra[0]} is not in this manifest and was not touched")
    elif extra:
        say(f"note: {len(extra)} other files are in the folder and were not touched")
    return manifest


def refuse_openpgp(manifest) -> None:
    """The batch was verified; its OpenPGP files are for an OpenPGP program, which has the key that opens them."""
    for file in manifest["files"]:
        if file["format"] == "openpgp":
            text = "{} is an OpenPGP file: gpg opens it (OPENPGP.md); --verify checks the batch without opening"
            raise Refused("openpgp", text.format(file["sealed_name"]))


def open_files(folder, manifest, recipients, key, out) -> None:
    """Open every file to NAME.part, then rename all; when one is refused, none is left."""
    written = []
    try:
        for file in manifest["files"]:
            try:
                write_part(folder, manifest, file, recipients[file["sealed_name"]], key, out)
            except Refused as error:
                raise Refused(error.kind, f"{file['sealed_name']}: {error.text}") from None
            written.append(file)
        for file in manifest["files"]:
            refuse_existing(out / file["name"])
            part_of(out, file).replace(out / file["name"])
            written.remove(file)
    finally:
        for file in written:
            part_of(out, file).unlink()


# ----------------------------------------------------------------------------------------------- keys and command line


def read_pem(path):
    try:
        return read_small(path, 262144, "usage")
    except Refused as error:
        raise Refused("usage", f"{path.parent}{os.sep}{error.text}") from error
    except OSError as error:
        raise Refused("usage", f"{path} cannot be read: {error.strerror}") from error


def load_private_key(path):
    data = read_pem(path)
    try:
        try:
            key = serialization.load_pem_private_key(data, None)
        except TypeError:
            try:
                password = os.environ.get("SEALIFT_KEY_PASSWORD") or getpass.getpass(f"password of {path}: ")
            except EOFError:
                raise Refused("usage", f"{path} has a password: set SEALIFT_KEY_PASSWORD") from None
            key = serialization.load_pem_private_key(data, password.encode())
    except ValueError as error:
        raise Refused("usage", f"{path} is not a PEM private key, or the password is wrong") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refused("usage", f"{path} is not an RSA key")
    return key


def load_sender(data):
    try:
        if b"BEGIN CERTIFICATE" in data:
            key = x509.load_pem_x509_certificate(data).public_key()
        else:
            key = serialization.load_pem_public_key(data)
    except ValueError as error:
        raise Refused("usage", "the sender's file is neither a PEM certificate nor a PEM public key") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 3072:
        raise Refused("usage", "the sender's key is not RSA of 3072 bits or more")
    return key


def run_vectors(folder) -> int:
    """Prove this program on the test vectors: good batches open, bad ones are refused for the expected reason."""
    failed = 0
    names, keys, senders = [n for n in names_in(folder) if n.endswith(".json")], {}, {}
    for name in names:
        vector = json.loads((folder / name).read_bytes())
        expected = "{} {}".format(vector["expect"], json.dumps(vector["plaintexts"], sort_keys=True))
        if vector["key"] not in keys:
            keys[vector["key"]] = load_private_key(folder / "keys" / (vector["key"] + ".key.pem"))
        if vector["sender"] not in senders:
            pem = read_small(folder / "keys" / (vector["sender"] + ".pub.pem"), 9999, "usage")
            senders[vector["sender"]] = load_sender(pem)
        with tempfile.TemporaryDirectory() as work:
            inbox, out = Path(work, "in"), Path(work, "out")
            for each in (inbox, out):
                each.mkdir()
            for stored, content in vector["files"].items():
                (inbox / stored).write_bytes(base64.b64decode(content))
            got = "ok"
            try:
                open_batch(
                    inbox,
                    keys[vector["key"]],
                    senders[vector["sender"]],
                    out,
                    vector["batch"],
                    vector["strict"],
                    say=lambda _: None,
                )
            except Refused as error:
                got = error.kind
            opened = {n: measure(out / n, 2**52)[1] for n in names_in(out)}
            got = f"{got} {json.dumps(opened, sort_keys=True)}"
        if got != expected:
            failed += 1
            print(f"FAIL {name}: expected {expected}, got {got}")
    print(f"{len(names)} vectors, {failed} failed")
    return 1 if failed or not names else 0


def main(argv=None):
    parser = argparse.ArgumentParser(prog="open.py", description="Open a batch of sealed files.")
    parser.add_argument(
        "batch_path",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        help="the folder where the batch lies, or its manifest.json",
    )
    parser.add_argument("--key", type=Path, help="your RSA private key, PEM")
    parser.add_argument("--sender", type=Path, help="the sender's certificate or public key, PEM")
    parser.add_argument("--out", type=Path, help="folder for the opened files")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check signature, manifest and files, and open nothing; needs no --key and --out",
    )
    parser.add_argument("--batch", help="which batch, when the folder holds several")
    parser.add_argument("--strict", action="store_true", help="refuse a folder that holds anything beside this batch")
    parser.add_argument("--feed", metavar="PARTNER.FEED", help="refuse batches of any other feed")
    parser.add_argument("--state", type=Path, metavar="FILE", help="remember the last batch of each feed in this file")
    parser.add_argument(
        "--accept-sequence", action="store_true", help="with --state: report a batch out of order, but open it"
    )
    parser.add_argument(
        "--vectors", type=Path, metavar="DIR", help="instead: prove this program on the test vectors in DIR"
    )
    args = parser.parse_args(argv)
    if args.vectors:
        return run_vectors(args.vectors)
    if not (args.batch_path and args.sender and (args.verify or (args.key and args.out))):
        parser.error("FOLDER, --key, --sender and --out are all needed (with --verify FOLDER and --sender)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave no NAME.part
    try:
        key = None if args.verify else load_private_key(args.key)
        wishes = {"batch": args.batch, "strict": args.strict, "feed": args.feed, "verify": args.verify}
        sender = load_sender(read_pem(args.sender))
        if args.state:
            with State(args.state, args.accept_sequence) as state:
                open_batch(args.batch_path, key, sender, args.out, state=state, **wishes)
        else:
            open_batch(args.batch_path, key, sender, args.out, **wishes)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if error.kind == "usage" else 1
    except OSError as error:
        print(f"error: io: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

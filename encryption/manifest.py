"""What a batch holds, signed and written last; and keys.json (docs/FORMAT.md, sections 8 to 10).

The manifest is the commit mark and the only proof of who sent a batch. `verify_signature` comes first, parsing after.
It does NOT sign: the key never leaves Key Vault (vault.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from encryption import canonical
from encryption.errors import InvalidValue, MalformedManifest, SignatureInvalid
from encryption.sealing import FORMATS, LARGEST, SealedFile
from encryption.wrapping import MAX_RECIPIENTS, WrappedKey, algorithms_of, read_recipients

VERSION: Final = 1
WITH_SUMS: Final = 2  # the manifest's version where files and totals have `sums`
MAX_SUMS: Final = 256
MANIFEST_TYPE: Final = "sealift-manifest"
KEYS_TYPE: Final = "sealift-keys"
SIGNATURE: Final = "RSA-PSS-SHA256"
MAX_BYTES: Final = 33_554_432
MAX_FILES: Final = 10_000
MAX_SIGNATURE_BYTES: Final = 1024
PSS: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)

_MANIFEST_MEMBERS: Final = frozenset({
    "batch", "created", "feed", "files", "keys_sha256", "partner", "previous_manifest_sha256", "record_head",
    "sequence", "signature", "signing_key", "totals", "type", "version", "window_end", "window_start",
})  # fmt: skip
_FILE_MEMBERS: Final = frozenset({
    "detached", "format", "name", "plaintext_bytes", "recipients", "rows", "sealed_bytes", "sealed_name",
    "sealed_sha256",
})  # fmt: skip
_KEYS_MEMBERS: Final = frozenset({"batch", "files", "type", "version"})
_KEYS_FILE_MEMBERS: Final = frozenset({"name", "recipients", "sealed_name", "sealed_sha256"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """What a detached file needs beside its ciphertext."""

    key_name: str
    key_sha256: str
    nonce: str
    tag: str

    def __post_init__(self) -> None:
        canonical.text(self.key_name, canonical.NAME, "key_name")
        canonical.text(self.key_sha256, canonical.HASH, "key_sha256")
        canonical.text(self.nonce, canonical.NONCE, "nonce")
        canonical.text(self.tag, canonical.TAG, "tag")

    def to_json(self) -> dict[str, Any]:
        """Return the object as the manifest carries it."""
        return {"key_name": self.key_name, "key_sha256": self.key_sha256, "nonce": self.nonce, "tag": self.tag}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyId:
    """Who can open a file: kid and certificate thumbprint."""

    kid: str
    thumbprint: str

    def __post_init__(self) -> None:
        canonical.text(self.kid, canonical.KID, "kid")
        canonical.text(self.thumbprint, canonical.THUMBPRINT, "x5t#S256")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSum:
    """The sum of a number column, exact: plain decimal text without needless zeros."""

    column: str
    sum: str

    def __post_init__(self) -> None:
        canonical.text(self.column, canonical.COLUMN, "column")
        canonical.text(self.sum, canonical.DECIMAL, "sum")

    def to_json(self) -> dict[str, Any]:
        """Return the object as the manifest carries it."""
        return {"column": self.column, "sum": self.sum}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One sealed file as the manifest lists it; the plaintext's hash stays at home (FORMAT.md, section 13).

    `sums` are in the order of their columns' names; None in a manifest of version 1, which has none.
    """

    name: str
    sealed_name: str
    format: str
    plaintext_bytes: int
    sealed_bytes: int
    sealed_sha256: str
    rows: int | None
    recipients: tuple[KeyId, ...]
    detached: Detached | None = None
    sums: tuple[ColumnSum, ...] | None = None

    def __post_init__(self) -> None:
        canonical.text(self.name, canonical.NAME, "name")
        canonical.text(self.sealed_name, canonical.NAME, "sealed_name")
        if self.format not in FORMATS:
            raise InvalidValue(f"format must be one of {', '.join(FORMATS)}")
        canonical.integer(self.plaintext_bytes, "plaintext_bytes", largest=LARGEST[self.format])
        canonical.integer(self.sealed_bytes, "sealed_bytes")
        canonical.text(self.sealed_sha256, canonical.HASH, "sealed_sha256")
        if self.rows is not None:
            canonical.integer(self.rows, "rows")
        canonical.items(list(self.recipients), 1, MAX_RECIPIENTS, "recipients")
        if (self.format == "detached") != (self.detached is not None):
            raise InvalidValue("detached must be an object for a detached file and null for any other")
        columns = self.columns or ()
        if list(columns) != sorted(set(columns)):
            raise InvalidValue("sums are not in the order of their columns, or name one twice")

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Return the columns that have sums; None without any sums."""
        return None if self.sums is None else tuple(each.column for each in self.sums)

    @classmethod
    def of(cls, sealed: SealedFile, *, rows: int | None, sums: tuple[ColumnSum, ...] | None = None) -> ManifestFile:
        """Return the manifest's line for a sealed file."""
        detached = None
        if sealed.nonce is not None and sealed.tag is not None:
            key_sha256 = hashlib.sha256(sealed.key_file).hexdigest()
            detached = Detached(key_name=sealed.key_name, key_sha256=key_sha256, nonce=sealed.nonce, tag=sealed.tag)
        return cls(
            name=sealed.name,
            sealed_name=sealed.sealed_name,
            format=sealed.format,
            plaintext_bytes=sealed.plaintext_bytes,
            sealed_bytes=sealed.sealed_bytes,
            sealed_sha256=sealed.sealed_sha256,
            rows=rows,
            recipients=tuple(KeyId(kid=each.kid, thumbprint=each.thumbprint) for each in sealed.recipients),
            detached=detached,
            sums=sums,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as the manifest carries it."""
        sums = {} if self.sums is None else {"sums": [each.to_json() for each in self.sums]}
        return {
            "detached": self.detached.to_json() if self.detached else None,
            "format": self.format,
            "name": self.name,
            "plaintext_bytes": self.plaintext_bytes,
            "recipients": [{"kid": each.kid, "x5t#S256": each.thumbprint} for each in self.recipients],
            "rows": self.rows,
            "sealed_bytes": self.sealed_bytes,
            "sealed_name": self.sealed_name,
            "sealed_sha256": self.sealed_sha256,
            **sums,
        }

    @classmethod
    def from_json(cls, value: object, where: str, *, version: int = VERSION) -> ManifestFile:
        """Read one file's object strictly."""
        members = _FILE_MEMBERS | {"sums"} if version == WITH_SUMS else _FILE_MEMBERS
        found = {"sums": None} | canonical.members(value, members, where)
        recipients: list[KeyId] = []
        for each in canonical.items(found["recipients"], 1, MAX_RECIPIENTS, f"{where}.recipients"):
            key = canonical.members(each, frozenset({"kid", "x5t#S256"}), f"{where}.recipients[{len(recipients)}]")
            recipients.append(KeyId(kid=key["kid"], thumbprint=key["x5t#S256"]))
        detached = None
        if found["detached"] is not None:
            inner = frozenset({"key_name", "key_sha256", "nonce", "tag"})
            detached = Detached(**canonical.members(found["detached"], inner, f"{where}.detached"))
        sums = _read_sums(found["sums"], f"{where}.sums") if version == WITH_SUMS else None
        try:
            return cls(**found | {"recipients": tuple(recipients), "detached": detached, "sums": sums})
        except InvalidValue as error:
            raise InvalidValue(f"{where}.{error}") from error


def _read_sums(value: object, where: str) -> tuple[ColumnSum, ...]:
    found = canonical.items(value, 0, MAX_SUMS, where)
    inner = frozenset({"column", "sum"})
    return tuple(ColumnSum(**canonical.members(each, inner, f"{where}[{index}]")) for index, each in enumerate(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole batch: who, which window, which files, in which order of batches."""

    batch: str
    partner: str
    feed: str
    sequence: int
    window_start: datetime
    window_end: datetime
    created: datetime
    files: tuple[ManifestFile, ...]
    keys_sha256: str
    previous_manifest_sha256: str | None
    record_head: str | None
    signing_key: str

    def __post_init__(self) -> None:
        canonical.text(self.batch, canonical.BATCH, "batch")
        canonical.text(self.partner, canonical.TOKEN, "partner")
        canonical.text(self.feed, canonical.TOKEN, "feed")
        canonical.integer(self.sequence, "sequence")
        for member in ("window_start", "window_end", "created"):
            object.__setattr__(self, member, canonical.whole_seconds(getattr(self, member), member))
        if self.window_start > self.window_end:
            raise InvalidValue("window_start is after window_end")
        object.__setattr__(self, "files", tuple(self.files))
        canonical.items(list(self.files), 0, MAX_FILES, "files")
        _refuse_doubles([each.name for each in self.files], "name")
        stored = [each.sealed_name for each in self.files] + [
            each.detached.key_name for each in self.files if each.detached
        ]
        _refuse_doubles(stored, "sealed_name or key_name")
        canonical.text(self.keys_sha256, canonical.HASH, "keys_sha256")
        for member in ("previous_manifest_sha256", "record_head"):
            if getattr(self, member) is not None:
                canonical.text(getattr(self, member), canonical.HASH, member)
        canonical.text(self.signing_key, canonical.KID, "signing_key")
        if len({each.columns for each in self.files}) > 1:
            raise InvalidValue("the files have sums of different columns")
        for member, total in self.totals.items():
            if isinstance(total, int):
                canonical.integer(total, f"totals.{member}")

    @property
    def version(self) -> int:
        """Return 2 where the files have sums, else 1: a batch without them has the same bytes as ever."""
        return WITH_SUMS if self.files and self.files[0].sums is not None else VERSION

    @property
    def totals(self) -> dict[str, Any]:
        """Return the sums over all files; rows are unknown as soon as one file's are."""
        rows = [each.rows for each in self.files]
        totals = {
            "files": len(self.files),
            "plaintext_bytes": sum(each.plaintext_bytes for each in self.files),
            "rows": None if None in rows else sum(each or 0 for each in rows),
            "sealed_bytes": sum(each.sealed_bytes for each in self.files),
        }
        if self.version == WITH_SUMS:
            return totals | {"sums": [each.to_json() for each in self.sums]}
        return totals

    @property
    def sums(self) -> tuple[ColumnSum, ...]:
        """Return the sum of each column over all files."""
        by_file = [each.sums or () for each in self.files]
        return tuple(
            ColumnSum(column=column[0].column, sum=_add(each.sum for each in column))
            for column in zip(*by_file, strict=True)
        )

    def to_bytes(self) -> bytes:
        """Return the canonical JSON that gets signed."""
        return canonical.write(
            {
                "batch": self.batch,
                "created": canonical.write_time(self.created),
                "feed": self.feed,
                "files": [each.to_json() for each in self.files],
                "keys_sha256": self.keys_sha256,
                "partner": self.partner,
                "previous_manifest_sha256": self.previous_manifest_sha256,
                "record_head": self.record_head,
                "sequence": self.sequence,
                "signature": SIGNATURE,
                "signing_key": self.signing_key,
                "totals": self.totals,
                "type": MANIFEST_TYPE,
                "version": self.version,
                "window_end": canonical.write_time(self.window_end),
                "window_start": canonical.write_time(self.window_start),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read a manifest strictly; verify its signature before. Raises MalformedManifest."""
        try:
            found = canonical.members(canonical.parse(data, max_bytes=MAX_BYTES), _MANIFEST_MEMBERS, "it")
            canonical.constant(found["type"], MANIFEST_TYPE, "type")
            version = WITH_SUMS if found["version"] == WITH_SUMS else VERSION
            canonical.constant(found["version"], version, "version")
            canonical.constant(found["signature"], SIGNATURE, "signature")
            files = canonical.items(found["files"], version - VERSION, MAX_FILES, "files")
            manifest = cls(
                batch=found["batch"],
                partner=found["partner"],
                feed=found["feed"],
                sequence=found["sequence"],
                window_start=canonical.read_time(found["window_start"], "window_start"),
                window_end=canonical.read_time(found["window_end"], "window_end"),
                created=canonical.read_time(found["created"], "created"),
                files=tuple(
                    ManifestFile.from_json(each, f"files[{index}]", version=version) for index, each in enumerate(files)
                ),
                keys_sha256=found["keys_sha256"],
                previous_manifest_sha256=found["previous_manifest_sha256"],
                record_head=found["record_head"],
                signing_key=found["signing_key"],
            )
            _compare_totals(found["totals"], manifest.totals)
        except InvalidValue as error:
            raise MalformedManifest(f"the manifest is malformed: {error}") from error
        return manifest


def _add(sums: Iterable[str]) -> str:
    with localcontext(prec=2 * canonical.DECIMAL_DIGITS):
        return f"{sum(map(Decimal, sums), Decimal()).normalize():f}"


def _compare_totals(found: object, wanted: dict[str, Any]) -> None:
    # As text, because in Python True == 1 == 1.0.
    if canonical.write({"totals": found}) != canonical.write({"totals": wanted}):
        raise InvalidValue("totals are not the sums of its files")


def _refuse_doubles(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise InvalidValue(f"{what} {name!r} occurs twice")
        seen.add(name.lower())


def keys_json(batch: str, files: Sequence[SealedFile]) -> bytes:
    """Return keys.json: a copy of all wrapped keys of a batch."""
    document = {
        "batch": canonical.text(batch, canonical.BATCH, "batch"),
        "files": [
            {
                "name": each.name,
                "recipients": [key.to_json() for key in each.recipients],
                "sealed_name": each.sealed_name,
                "sealed_sha256": each.sealed_sha256,
            }
            for each in files
        ],
        "type": KEYS_TYPE,
        "version": VERSION,
    }
    return canonical.write(document)


def read_keys_json(data: bytes, manifest: Manifest) -> dict[str, tuple[WrappedKey, ...]]:
    """Return sealed name -> recipients of a keys.json that fits its manifest; raises MalformedManifest."""
    if hashlib.sha256(data).hexdigest() != manifest.keys_sha256:
        raise MalformedManifest("keys.json is not the one that the manifest names: its SHA-256 differs")
    try:
        found = canonical.members(canonical.parse(data, max_bytes=MAX_BYTES), _KEYS_MEMBERS, "it")
        canonical.constant(found["type"], KEYS_TYPE, "type")
        canonical.constant(found["version"], VERSION, "version")
        canonical.constant(found["batch"], manifest.batch, "batch")
        files = canonical.items(found["files"], len(manifest.files), len(manifest.files), "files")
        return {
            file.sealed_name: _read_keys_of(value, file, f"files[{index}]")
            for index, (file, value) in enumerate(zip(manifest.files, files, strict=True))
        }
    except InvalidValue as error:
        raise MalformedManifest(f"keys.json is malformed or does not fit the manifest: {error}") from error


def _read_keys_of(value: object, file: ManifestFile, where: str) -> tuple[WrappedKey, ...]:
    found = canonical.members(value, _KEYS_FILE_MEMBERS, where)
    for member in ("name", "sealed_name", "sealed_sha256"):
        canonical.constant(found[member], getattr(file, member), f"{where}.{member}")
    wrapped = read_recipients(found["recipients"], f"{where}.recipients", algorithms_of(file.format))
    if tuple(KeyId(kid=each.kid, thumbprint=each.thumbprint) for each in wrapped) != file.recipients:
        raise InvalidValue(f"{where}.recipients are not those of the manifest")
    if file.detached and hashlib.sha256(wrapped[0].wrapped_key).hexdigest() != file.detached.key_sha256:
        raise InvalidValue(f"{where}.recipients[0] is not the key file of the manifest")
    return wrapped


def verify_signature(manifest_bytes: bytes, signature: bytes, public_key: RSAPublicKey) -> None:
    """Raise SignatureInvalid unless `public_key` signed exactly these bytes."""
    if len(signature) <= MAX_SIGNATURE_BYTES:
        try:
            public_key.verify(signature, manifest_bytes, PSS, hashes.SHA256())
        except InvalidSignature:
            pass
        else:
            return
    raise SignatureInvalid("the manifest's signature is not valid for the expected key")

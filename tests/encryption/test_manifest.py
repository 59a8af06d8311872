from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from encryption_support import BATCH, NOW, rsa_key, sealed
from hypothesis import given
from hypothesis import strategies as st

from encryption import (
    ColumnSum,
    InvalidValue,
    MalformedManifest,
    Manifest,
    ManifestFile,
    SealedFile,
    SignatureInvalid,
    keys_json,
    read_keys_json,
    verify_signature,
)
from encryption.manifest import MAX_FILES, PSS, Detached, KeyId

FILES = [
    dataclasses.replace(sealed(b"hello", kind)[1], name=f"{kind}.csv", sealed_name=f"{kind}.x")
    for kind in ("native", "detached", "cms")
]


def make(sealed_files: list[SealedFile] = FILES, rows: int | None = 7, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "batch": BATCH, "partner": "northwind", "feed": "accruals", "sequence": 42, "window_start": NOW - dt.timedelta(days=1),
        "window_end": NOW, "created": NOW, "files": [ManifestFile.of(each, rows=rows) for each in sealed_files],
        "keys_sha256": hashlib.sha256(keys_json(BATCH, sealed_files)).hexdigest(), "previous_manifest_sha256": None,
        "record_head": "0" * 64, "signing_key": "https://vault.example/keys/sealift-signing/1",
    }  # fmt: skip
    return Manifest(**values | changes)


def changed(**changes: Any) -> bytes:
    document = json.loads(make().to_bytes()) | changes
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_a_manifest_is_read_back_and_written_to_the_same_bytes() -> None:
    text = make().to_bytes()

    manifest = Manifest.from_bytes(text)

    assert manifest == make()
    assert manifest.to_bytes() == text
    assert manifest.totals == {
        "files": 3,
        "plaintext_bytes": 15,
        "rows": 21,
        "sealed_bytes": sum(f.sealed_bytes for f in FILES),
    }


def test_unknown_rows_make_the_total_unknown() -> None:
    assert make(rows=None).totals["rows"] is None
    assert Manifest.from_bytes(make(rows=None).to_bytes()).files[0].rows is None


def with_sums(*sums: tuple[str, ...], columns: tuple[str, ...] = ("amount", "fee")) -> Manifest:
    """Return a manifest of version 2 with the sums of these files."""
    by_file = [tuple(ColumnSum(column=c, sum=s) for c, s in zip(columns, each, strict=True)) for each in sums]
    files = [ManifestFile.of(file, rows=7, sums=each) for file, each in zip(FILES, by_file, strict=True)]
    return make(files=files)


def test_sums_of_files_are_added_exactly_in_a_manifest_of_version_2() -> None:
    manifest = with_sums(("0.1", "-1"), ("0.2", "1"), ("9" * 40, "-0.000000000001"))

    text = manifest.to_bytes()

    assert json.loads(text)["version"] == 2
    assert json.loads(text)["totals"]["sums"] == [
        {"column": "amount", "sum": "9" * 40 + ".3"},
        {"column": "fee", "sum": "-0.000000000001"},
    ]
    assert Manifest.from_bytes(text) == manifest


def test_sums_that_cancel_are_0_and_whole_ones_have_no_exponent() -> None:
    assert [each.sum for each in with_sums(("1", "100"), ("-1", "900"), ("0", "0")).sums] == ["0", "1000"]


@pytest.mark.parametrize("columns", [("fee", "amount"), ("amount", "amount")])
def test_columns_are_named_once_and_in_order(columns: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue, match="order of their columns"):
        with_sums(("1", "2"), ("1", "2"), ("1", "2"), columns=columns)


def test_an_empty_batch_is_a_batch() -> None:
    empty = make([])

    assert Manifest.from_bytes(empty.to_bytes()) == empty
    assert read_keys_json(keys_json(BATCH, []), empty) == {}


def test_a_manifest_does_not_tell_the_plaintext_s_hash() -> None:
    digest = hashlib.sha256(b"hello").hexdigest().encode()

    assert digest not in make().to_bytes()
    assert digest not in keys_json(BATCH, FILES)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(MalformedManifest):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("member", sorted(json.loads(make().to_bytes())))
@pytest.mark.parametrize("value", [None, True, -1, 1.5, "", "a b/", [], {}, "x" * 999, [[[[]]]]])
def test_no_member_takes_a_value_of_another_kind(member: str, value: object) -> None:
    allowed_null = member in ("previous_manifest_sha256", "record_head") and value is None
    if not allowed_null:
        with pytest.raises(MalformedManifest, match="the manifest is malformed"):
            Manifest.from_bytes(changed(**{member: value}))


@pytest.mark.parametrize("member", sorted(json.loads(make().to_bytes())["files"][1]))
@pytest.mark.parametrize("value", [True, -1, "", "../x", [], {}, ["x"], "x" * 999])
def test_no_member_of_a_file_takes_a_value_of_another_kind(member: str, value: object) -> None:
    files = json.loads(make().to_bytes())["files"]
    files[1][member] = value

    with pytest.raises(MalformedManifest, match=r"files\[1\]"):
        Manifest.from_bytes(changed(files=files))


@pytest.mark.parametrize("member", ["key_name", "key_sha256", "nonce", "tag"])
def test_nonce_tag_and_key_of_a_detached_file_have_their_form(member: str) -> None:
    files = json.loads(make().to_bytes())["files"]
    files[1]["detached"][member] = "/"

    with pytest.raises(MalformedManifest, match=member):
        Manifest.from_bytes(changed(files=files))


@pytest.mark.parametrize(
    ("index", "value"), [(1, None), (0, {"key_name": "k", "key_sha256": "0" * 64, "nonce": "0" * 24, "tag": "0" * 32})]
)
def test_exactly_the_detached_files_carry_nonce_and_tag(index: int, value: object) -> None:
    files = json.loads(make().to_bytes())["files"]
    files[index]["detached"] = value

    with pytest.raises(MalformedManifest, match="detached must be"):
        Manifest.from_bytes(changed(files=files))


@pytest.mark.parametrize(
    "totals", [{}, {"files": 3}, {"files": True, "plaintext_bytes": 15, "rows": 21, "sealed_bytes": 1}]
)
def test_totals_must_be_the_sums(totals: object) -> None:
    with pytest.raises(MalformedManifest, match="totals"):
        Manifest.from_bytes(changed(totals=totals))


def test_a_name_that_occurs_twice_is_refused_in_any_case_of_letters() -> None:
    twice = [FILES[0], dataclasses.replace(FILES[0], name="NATIVE.csv", sealed_name="other.x")]
    same_stored = [FILES[0], dataclasses.replace(FILES[0], name="other.csv", sealed_name="Native.x")]
    key_over_file = [FILES[1], dataclasses.replace(FILES[0], sealed_name="detached.csv.key")]

    for files in (twice, same_stored, key_over_file):
        with pytest.raises(InvalidValue, match="occurs twice"):
            make(files)


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InvalidValue, match="window_start is after window_end"):
        make(window_start=NOW + dt.timedelta(seconds=1))


def test_totals_stay_below_2_to_53() -> None:
    large = dataclasses.replace(FILES[0], sealed_bytes=2**53 - 1)

    with pytest.raises(InvalidValue, match=r"totals\.sealed_bytes"):
        make([large, dataclasses.replace(FILES[2], sealed_bytes=1)])


def test_more_files_than_allowed_are_refused() -> None:
    line = ManifestFile.of(FILES[0], rows=1)
    many = [dataclasses.replace(line, name=f"{index}.csv", sealed_name=f"{index}.x") for index in range(MAX_FILES + 1)]

    with pytest.raises(InvalidValue, match="10,001 items"):
        make(files=many)


def test_ten_thousand_files_are_written_and_read_in_seconds() -> None:
    line = ManifestFile.of(FILES[0], rows=1)
    many = [dataclasses.replace(line, name=f"{index}.csv", sealed_name=f"{index}.x") for index in range(MAX_FILES)]
    began = time.process_time()

    assert len(Manifest.from_bytes(make(files=many).to_bytes()).files) == MAX_FILES

    assert time.process_time() - began < 5


def test_a_file_needs_a_known_format_and_a_recipient() -> None:
    line = ManifestFile.of(FILES[0], rows=1)

    with pytest.raises(InvalidValue, match="format must be one of"):
        dataclasses.replace(line, format="zip")
    with pytest.raises(InvalidValue, match="recipients has 0 items"):
        dataclasses.replace(line, recipients=())
    with pytest.raises(InvalidValue, match="x5t#S256"):
        KeyId(kid="k", thumbprint="short")
    with pytest.raises(InvalidValue, match="nonce"):
        Detached(key_name="k", key_sha256="0" * 64, nonce="0", tag="0" * 32)


def test_keys_json_gives_the_recipients_by_sealed_name() -> None:
    found = read_keys_json(keys_json(BATCH, FILES), make())

    assert found == {each.sealed_name: each.recipients for each in FILES}


def test_another_keys_json_is_refused_by_its_hash() -> None:
    with pytest.raises(MalformedManifest, match="SHA-256 differs"):
        read_keys_json(keys_json(BATCH, FILES[:2]), make())


def foreign_keys(change: Any) -> tuple[bytes, Manifest]:
    document = json.loads(keys_json(BATCH, FILES))
    change(document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return text, make(keys_sha256=hashlib.sha256(text).hexdigest())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.update(batch="other"), "batch must be"),
        (lambda d: d.update(type="sealift-file"), "type must be"),
        (lambda d: d.update(version=2), "version must be"),
        (lambda d: d.update(note=""), "unknown member 'note'"),
        (lambda d: d["files"].pop(), "files has 2 items"),
        (lambda d: d["files"].reverse(), r"files\[0\].name must be"),
        (lambda d: d["files"][0].update(sealed_sha256="0" * 64), r"files\[0\].sealed_sha256 must be"),
        (lambda d: d["files"][0]["recipients"][0].update(kid="k"), "are not those of the manifest"),
        (lambda d: d["files"][0]["recipients"][0].update(alg="RSA1_5"), "alg must be"),
        (lambda d: d["files"][0].update(recipients=d["files"][0]["recipients"] * 2), "names a certificate twice"),
        (lambda d: d["files"][1]["recipients"][0].update(wrapped_key="A" * 512), r"\[1\].recipients\[0\] is not the key file"),
        (lambda d: d["files"].__setitem__(0, []), r"files\[0\] is not an object"),
    ],
)  # fmt: skip
def test_a_keys_json_that_does_not_fit_the_manifest_is_refused(change: Any, text: str) -> None:
    keys, manifest = foreign_keys(change)

    with pytest.raises(MalformedManifest, match=text):
        read_keys_json(keys, manifest)


def sign(data: bytes, *, salt: int = 32, owner: str = "sender") -> bytes:
    return rsa_key(owner).sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())


def test_a_signature_is_verified_over_exactly_these_bytes() -> None:
    text, key = make().to_bytes(), rsa_key("sender").public_key()

    verify_signature(text, sign(text), key)

    for other, signature in (
        (text + b" ", sign(text)),
        (text, sign(text, owner="stranger")),
        (text, sign(text, salt=20)),
        (text, rsa_key("sender").sign(text, padding.PKCS1v15(), hashes.SHA256())),
        (text, b""),
        (text, bytes(5000)),
    ):
        with pytest.raises(SignatureInvalid, match="not valid for the expected key"):
            verify_signature(other, signature, key)


def test_the_signature_s_form_is_the_one_that_key_vault_makes() -> None:
    assert PSS._salt_length == 32

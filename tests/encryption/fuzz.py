"""Coverage-guided fuzzing of everything that reads strangers' bytes; run by hand, it needs `pip install atheris`:

    python tests/encryption/fuzz.py header|manifest|keys|cms|smime|doctor [-max_total_time=60]

Each target may raise only its own errors; what it accepts must be written back to the same bytes. Findings become tests in
test_hostile_input.py. The everyday runs use hypothesis; this goes deeper, for as long as one lets it.
"""

from __future__ import annotations

import datetime as dt
import io
import sys
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # installed by hand, it has no stubs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["encryption"]):
    from encryption import MalformedHeader, MalformedManifest, Manifest
    from encryption.canonical import parse, write
    from encryption.cms import read_envelope
    from encryption.doctor import diagnose
    from encryption.errors import InvalidValue
    from encryption.header import parse_header
    from encryption.smime import read_smime_envelope
    from encryption.smime_armour import Unarmoured

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


def header(data: bytes) -> None:
    try:
        found = parse_header(data)
    except MalformedHeader:
        return
    assert found.to_bytes()[12:] == data


def manifest(data: bytes) -> None:
    try:
        found = Manifest.from_bytes(data)
    except MalformedManifest:
        return
    assert found.to_bytes() == data


def keys(data: bytes) -> None:
    try:
        value = parse(data, max_bytes=100_000)
    except InvalidValue:
        return
    assert write(value) == data


def cms(data: bytes) -> None:
    place = 0

    def read(count: int) -> bytes:
        nonlocal place
        part = data[place : place + count]
        place += len(part)
        return part

    try:
        found = read_envelope(read)
    except MalformedHeader:
        return
    assert 1 <= len(found.wrapped_keys) <= 8
    assert len(found.nonce) == 12


def smime(data: bytes) -> None:
    source = io.BytesIO(data)
    try:
        found = read_smime_envelope(Unarmoured(source.read, len(data)).read)
    except MalformedHeader:
        return
    assert 1 <= len(found.wrapped_keys) <= 8
    assert len(found.iv) == 16


def doctor(data: bytes) -> None:
    assert diagnose(data, NOW).kind


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (header, manifest, keys, cms, smime, doctor)
}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()

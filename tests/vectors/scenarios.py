"""The scenarios: what can go right at a partner, and above all what can go wrong."""

from __future__ import annotations

from collections.abc import Iterator

from broken_batches import broken_folders, broken_keys, broken_manifests
from broken_formats import broken_cms, broken_detached
from broken_native import broken_bodies, changed_headers, malformed_headers
from encoder import Scenario
from good import good_batches, good_files
from openpgp import broken_openpgp, good_openpgp
from smime import broken_smime, good_smime


def all_scenarios() -> Iterator[Scenario]:
    yield from good_files()
    yield from good_batches()
    yield from good_openpgp()
    yield from good_smime()
    yield from broken_bodies()
    yield from changed_headers()
    yield from malformed_headers()
    yield from broken_detached()
    yield from broken_cms()
    yield from broken_openpgp()
    yield from broken_smime()
    yield from broken_manifests()
    yield from broken_keys()
    yield from broken_folders()

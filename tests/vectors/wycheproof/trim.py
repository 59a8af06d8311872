"""Write these files anew from a checkout of C2SP/wycheproof: python tests/vectors/wycheproof/trim.py CHECKOUT

Kept is what a sealed file can hold: RSA-OAEP without a label, RSA-PSS, AES-256-GCM with a 96-bit nonce, a whole tag and no
associated data, chunked encryption with a key of 32 bytes (no unwrapped key has another size). Test cases are whole and
unchanged; forms of a key that nothing here reads are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Case = dict[str, Any]

KEPT: dict[str, tuple[Callable[[Case], bool], Callable[[Case], bool], tuple[str, ...]]] = {
    "c2sp_chunked_encryption_aes_256_gcm_test": (
        lambda group: True,
        lambda case: "InvalidKeySize" not in case["flags"],
        (),
    ),
    "aes_gcm_test": (
        lambda group: (group["keySize"], group["ivSize"], group["tagSize"]) == (256, 96, 128),
        lambda case: case["aad"] == "",
        (),
    ),
    "rsa_oaep_3072_sha256_mgf1sha256_test": (
        lambda group: True,
        lambda case: case["label"] == "",
        ("privateKeyPkcs8",),
    ),
    "rsa_oaep_4096_sha256_mgf1sha256_test": (
        lambda group: True,
        lambda case: case["label"] == "",
        ("privateKeyPkcs8",),
    ),
    "rsa_pss_3072_sha256_mgf1_32_test": (lambda group: True, lambda case: True, ("publicKeyDer",)),
    "rsa_pss_4096_sha256_mgf1_32_test": (lambda group: True, lambda case: True, ("publicKeyDer",)),
}


def main(checkout: Path) -> None:
    for name, (wants_group, wants_case, keys) in KEPT.items():
        whole = json.loads((checkout / "testvectors_v1" / f"{name}.json").read_bytes())
        groups = []
        for group in filter(wants_group, whole["testGroups"]):
            kept = {key: group[key] for key in group if not key.startswith(("privateKey", "publicKey")) or key in keys}
            groups.append(kept | {"tests": list(filter(wants_case, group["tests"]))})
        count = sum(len(group["tests"]) for group in groups)
        trimmed = {"algorithm": whole["algorithm"], "numberOfTests": count, "testGroups": groups}
        (HERE / f"{name}.json").write_text(json.dumps(trimmed, indent=0) + "\n")
        print(f"{name}: {count} of {whole['numberOfTests']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

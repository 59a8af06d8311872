"""Our own OpenPGP certificate: the public half of the signing key, with a user id and a self-signature.

The fingerprint depends on key and creation time only, so a certificate that is exported again is the same key to every
partner. The private half stays where it is; making the certificate takes one signature.
"""

from __future__ import annotations

import hashlib
from typing import Final

from encryption.errors import InvalidValue
from encryption.openpgp import armour
from encryption.openpgp.packets import PUBLIC_KEY, USER_ID, packet
from encryption.openpgp.signatures import CERTIFY, SIGN, Signer, subpacket

_POSITIVE: Final = 0x13
_KEY_FLAGS, _PREFERRED_HASHES, _FEATURES = 27, 21, 30
_SHA256_384_512: Final = bytes([8, 9, 10])
_MAX_USER_ID_BYTES: Final = 200


def own_certificate(signer: Signer, user_id: str) -> bytes:
    """Return the armoured certificate of `signer` under a user id such as `Acme <files@acme.example>`.

    Raises InvalidValue, and what the signer raises.
    """
    encoded = user_id.encode()
    if not user_id.isprintable() or not 1 <= len(encoded) <= _MAX_USER_ID_BYTES:
        hint = "write a name and a mail address: Acme <files@acme.example>"
        raise InvalidValue(f"an OpenPGP user id is 1 to {_MAX_USER_ID_BYTES} printable bytes", hint=hint)
    hashed = hashlib.sha256(signer.key.hashed + b"\xb4" + len(encoded).to_bytes(4, "big") + encoded)
    signature = signer.sign(
        hashed,
        _POSITIVE,
        signer.key.created,
        subpacket(_KEY_FLAGS, bytes([CERTIFY | SIGN])),
        subpacket(_PREFERRED_HASHES, _SHA256_384_512),
        subpacket(_FEATURES, b"\x01"),
    )
    key = packet(PUBLIC_KEY, signer.key.body)
    return armour.armoured(armour.PUBLIC_KEY, key + packet(USER_ID, encoded) + signature)

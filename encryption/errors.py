"""Every error of this package, by whose fault it is.

EncryptionError
├── RecipientError            the partner's certificate                                   422
│   ├── UnreadableCertificate     not a PEM certificate at all
│   ├── CertificateExpired
│   ├── CertificateNotYetValid
│   ├── NotRsa
│   ├── KeyTooSmall
│   ├── WeakKey                   a modulus, exponent or size that is unsafe or cannot work
│   ├── WrongUsage                the certificate forbids encrypting keys
│   ├── CertificateRevoked        OpenPGP: its owner has withdrawn it, or the key in it
│   ├── NoEncryptionKey           OpenPGP: nothing in it is for encryption
│   ├── UnsupportedKey            OpenPGP: an algorithm or a hash that is not written for
│   ├── SeveralOwners             a bundle that does not show whose certificate is meant
│   └── PublishedKey              a key from the test vectors: everybody has it
├── InvalidValue              a value that the format cannot carry (our plan, our call)   422
├── FileTooLarge              more than the chosen format holds                           422
├── SizeMismatch              the plaintext is not as long as was declared                409
├── MalformedHeader           a sealed file that breaks the format, said exactly          422
├── CannotOpen                wrong key, changed or cut: one text for all three           422
├── MalformedManifest         a manifest or keys.json that breaks the format              422
├── SignatureInvalid          a manifest that the expected key did not sign               422
└── VaultError                Key Vault                                                   500
    ├── SecretMissing             nothing there under that name                           500
    ├── VaultForbidden            our identity may not                                    500
    └── VaultUnreachable          no answer, or busy: `transient`, so try again           503
"""

from __future__ import annotations

from fault import Fault


class EncryptionError(Fault):
    """Root of this package's errors."""

    status = 422


class RecipientError(EncryptionError):
    """The partner's certificate cannot be used."""

    default_hint = "ask the partner for an RSA certificate of 3072 bits or more that allows key encipherment"


class UnreadableCertificate(RecipientError):
    """The text holds no certificate that can be read."""

    default_hint = (
        "run ./sealift keys check on the file: it says what was found and how to make a PEM certificate of it"
    )


class CertificateExpired(RecipientError):
    """The certificate's last day is over."""

    default_hint = (
        "ask the partner for a new certificate and add it to the vault secret; the old one may stay in the same secret"
    )


class CertificateNotYetValid(RecipientError):
    """The certificate's first day is still to come."""

    default_hint = "keep the present certificate in the same secret until the new one starts"


class NotRsa(RecipientError):
    """The certificate holds a key that is not RSA."""


class KeyTooSmall(RecipientError):
    """The RSA key has fewer bits than the format allows."""


class WeakKey(RecipientError):
    """The RSA key's modulus, exponent or size is unsafe, or the key cannot encrypt."""


class WrongUsage(RecipientError):
    """The certificate's key usage does not allow to encrypt keys."""


class CertificateRevoked(RecipientError):
    """The OpenPGP certificate, or the key in it that would be used, was revoked."""

    default_hint = "ask the partner for their present OpenPGP key: gpg --armor --export NAME"


class NoEncryptionKey(RecipientError):
    """The OpenPGP certificate holds no key that is for encryption."""

    default_hint = (
        "ask the partner for an OpenPGP key with an encryption subkey: gpg --quick-generate-key NAME makes one"
    )


class UnsupportedKey(RecipientError):
    """The OpenPGP key has an algorithm, or is signed with a hash, that Sealift does not write for."""

    default_hint = (
        "ask the partner for an OpenPGP key of RSA 3072 or more, or of Curve 25519, made by a current program: "
        "gpg --quick-generate-key NAME"
    )


class SeveralOwners(RecipientError):
    """The certificates of one bundle are not one owner's, so none of them is chosen."""

    default_hint = (
        "keep the partner's own certificates only, all of one name; "
        "for a partner with a new name: ./sealift keys import NAME new.pem --replace"
    )


class PublishedKey(RecipientError):
    """The private key is public knowledge: it belongs to the test vectors."""

    default_hint = "this certificate is for tests only; ask the partner for their own"


class InvalidValue(EncryptionError):
    """A value that the format cannot carry."""

    default_hint = "docs/FORMAT.md, section 3, lists what each field may hold"


class FileTooLarge(EncryptionError):
    """The plaintext is larger than the chosen format holds."""

    default_hint = "split the file into parts, or choose the format native for this feed"


class SizeMismatch(EncryptionError):
    """The plaintext was longer or shorter than its declared size."""

    status = 409
    default_hint = "the source changed while it was read; plan and extract the file again"


class MalformedHeader(EncryptionError):
    """A sealed file that breaks the format in a way that no key is needed to see."""

    default_hint = (
        "the file is not what Sealift writes, or was damaged on its way: fetch it again and compare its SHA-256"
    )


class CannotOpen(EncryptionError):
    """The file is for another key, or it was changed or cut; the difference is not told."""

    default_hint = (
        "compare the file's SHA-256 with the manifest, and the key with the recipients that ./sealift inspect shows"
    )

    def __init__(self) -> None:
        super().__init__("the file cannot be opened: it is for another key, or it was changed or cut")


class MalformedManifest(EncryptionError):
    """A manifest or a keys.json that breaks the format, or does not fit its batch."""

    default_hint = "fetch the batch again; if it stays so, ask the sender for it anew"


class SignatureInvalid(EncryptionError):
    """The manifest was not signed by the expected key, or was changed since."""

    default_hint = "do not open the batch; check that the verification certificate is the sender's present one"


class VaultError(EncryptionError):
    """Key Vault answered in a way that trying again will not fix."""

    status = 500


class SecretMissing(VaultError):
    """There is no secret or key of that name."""


class VaultForbidden(VaultError):
    """This identity may not read or use it."""

    default_hint = (
        "give the function app's identity Key Vault Secrets User on the secret, the right to sign with the signing key "
        "and Reader on those that signed before (oldSigningKeys)"
    )


class VaultUnreachable(VaultError):
    """No answer from Key Vault, or it is busy."""

    status = 503
    transient = True
    default_hint = "this passes by itself as a rule; if it stays, check KEY_VAULT_URL and the vault's network rules"

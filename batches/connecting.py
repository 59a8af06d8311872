"""How a partner's server is reached, in the words of `delivery`: its file's rules, and the secrets that the file names."""

from __future__ import annotations

from delivery import ConnectionSettings, Policy, TemporaryName
from encryption.vault import Vault
from partners import Partner


def connection_settings(partner: Partner, vault: Vault) -> ConnectionSettings:
    """Return how the partner's server is reached, with the secrets that its file names."""
    sftp = partner.sftp
    return ConnectionSettings(
        host=sftp.host,
        port=sftp.port,
        user=sftp.user,
        host_keys=tuple(sftp.host_keys),
        private_key=vault.secret(sftp.private_key) if sftp.private_key else None,
        password=vault.secret(sftp.password) if sftp.password else None,
        legacy=tuple(sftp.legacy),
    )


def delivery_policy(partner: Partner, folder: str) -> Policy:
    """Return the partner's rules in the words of `delivery`."""
    rules = partner.delivery.model_dump()
    temporary = TemporaryName(**rules.pop("temporary"))
    return Policy(folder=folder, temporary=temporary, **rules)

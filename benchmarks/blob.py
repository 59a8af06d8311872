"""`./sealift bench blob`: sealing from blob to blob, beside a plain copy by the same pipeline, SDK and storage.

Every measurement is a process of its own, in turns. Of large files each has a fresh Azurite (plain http, on disk; one that
has served gigabytes is half as fast), and the median counts; small files go by quarters, which are added up. Storage gets
the first core and workers the others, as storage never is on a worker's machine; where that cannot be (macOS, one core)
the table says so. `CPU` is that of the worker alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from batches.stores import BLOCK_BYTES, PATIENCE, RANGES
from batches.transfer import BlockWriter, read_blob
from encryption import FileInfo, Recipient, load_recipients, seal
from local.azurite import Azurite

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024
LARGE_RATIO, SMALL_RATIO, CPU_MS_A_MIB, RSS_MIB, SCALE = 0.95, 0.9, 4.5, 300, 1.6
SMALL_BYTES = 50 * 1024
TURNS = 4
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
APART = hasattr(os, "sched_setaffinity") and len(CORES) >= 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement: of all files that one process, or two at the same time, moved."""

    seconds: float
    cpu_seconds: float
    rss_mib: float


def main(argv: list[str]) -> int:
    """Print the table; exit 1 when one of the bars is missed."""
    parser = argparse.ArgumentParser("sealift bench blob", description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="size of the large file (2048)")
    parser.add_argument("--files", type=int, default=2000, help="how many small files of 50 KiB (2000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, metavar=("WORK", "PREFIX", "TARGET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        return _child(*arguments.child)
    return _compare(arguments.mib, arguments.files, arguments.rounds)


def _compare(mib: int, files: int, rounds: int) -> int:
    large: dict[str, list[Figure]] = {"copy": [], "seal": []}
    for _ in range(rounds):
        for work, figures in large.items():
            with _storage(mib, 0):
                figures.append(_measure([(work, "large/")]))
    small: dict[str, list[Figure]] = {"copy": [], "seal": [], "pair": []}
    with _storage(0, files):
        for turn in range(TURNS):
            # Storage that holds more is slower, so each goes first every other turn.
            for work in ("seal", "copy") if turn % 2 else ("copy", "seal"):
                small[work].append(_measure([(work, f"small/{turn}/")]))
            if turn % 2:
                small["pair"].append(_measure([("seal", f"small/{turn}/"), ("seal", f"small/{turn - 1}/")]))
    found = {f"{work} large": _median(figures) for work, figures in large.items()}
    found |= {f"{work} small": _sum(figures) for work, figures in small.items()}
    print(f"{'blob to blob':<30} {'MB/s':>7} {'files/s':>8} {'CPU ms/MiB':>11} {'RSS MiB':>8} {'of copy':>8}")
    for name, figure in found.items():
        work, size = name.split()
        moved_mib = mib if size == "large" else files * SMALL_BYTES / MIB
        count, what = (1, f"{mib} MiB") if size == "large" else (files, f"{files:,} x 50 KiB")
        ratio = found[f"copy {size}"].seconds / figure.seconds
        speed, cpu = moved_mib * MIB / 1e6 / figure.seconds, figure.cpu_seconds * 1000 / moved_mib
        label = f"{'two workers seal' if work == 'pair' else work} {what}"
        print(f"{label:<30} {speed:7.0f} {count / figure.seconds:8.1f} {cpu:11.2f} {figure.rss_mib:8.0f} {ratio:8.2f}")
    scale = found["seal small"].seconds / found["pair small"].seconds
    where = "storage has the first of them" if APART else "storage and workers share them"
    print(f"two workers are {scale:.2f} times as fast as one, on {len(CORES)} cores; {where}")
    return _judge(found, mib, scale)


def _judge(found: dict[str, Figure], mib: int, scale: float) -> int:
    large, small = found["seal large"], found["seal small"]
    bars = [
        (
            f"sealing a large file runs at {LARGE_RATIO} of a copy or more",
            found["copy large"].seconds / large.seconds >= LARGE_RATIO,
        ),
        (
            f"sealing small files runs at {SMALL_RATIO} of a copy or more",
            found["copy small"].seconds / small.seconds >= SMALL_RATIO,
        ),
        (f"at most {CPU_MS_A_MIB} ms of CPU a MiB, with hashes", large.cpu_seconds * 1000 / mib <= CPU_MS_A_MIB),
        (f"at most {RSS_MIB} MiB of memory", large.rss_mib <= RSS_MIB),
    ]
    if len(CORES) >= 3:  # two workers and storage are three busy processes
        bars.append((f"two workers are {SCALE} times as fast as one or more", scale >= SCALE))
    for text, held in bars:
        print(f"  {'+' if held else 'x'} {text}")
    return 0 if all(held for _, held in bars) else 1


def _median(figures: list[Figure]) -> Figure:
    return sorted(figures, key=lambda figure: figure.seconds)[len(figures) // 2]


def _sum(figures: list[Figure]) -> Figure:
    """Add up the turns; memory is that of the largest."""
    return Figure(
        seconds=sum(each.seconds for each in figures),
        cpu_seconds=sum(each.cpu_seconds for each in figures),
        rss_mib=max(each.rss_mib for each in figures),
    )


@contextmanager
def _storage(mib: int, files: int) -> Iterator[None]:
    """Run a fresh Azurite that holds the sources."""
    with tempfile.TemporaryDirectory(prefix="sealift-bench-") as folder:
        _use_cores(CORES[:1])
        with Azurite(Path(folder) / "azurite", accounts=["bench"]) as storage:
            _use_cores(CORES[1:])
            (Path(folder) / "cert.pem").write_bytes(_certificate())
            os.environ["BENCH_CERTIFICATE"] = str(Path(folder) / "cert.pem")
            os.environ["BENCH_STORAGE"] = storage.connection_string("bench")
            _fill(_service().create_container("raw"), mib, files)
            os.sync()  # what is still to be written disturbs nobody
            yield


def _use_cores(cores: Sequence[int]) -> None:
    """Keep this process, and all that it starts from now on, on some cores."""
    if APART:
        os.sched_setaffinity(0, cores)


def _measure(works: Iterable[tuple[str, str]]) -> Figure:
    """Run works at the same time, each in a process of its own, into one new container."""
    target = f"target-{time.monotonic_ns()}"
    _service().create_container(target)
    command = [sys.executable, "-m", "benchmarks.blob", "--child"]
    running = [subprocess.Popen([*command, *work, target], cwd=ROOT, stdout=subprocess.PIPE) for work in works]
    told = [json.loads(process.communicate()[0]) for process in running]
    return Figure(
        seconds=max(each["end"] for each in told) - min(each["begin"] for each in told),
        cpu_seconds=sum(each["cpu_seconds"] for each in told),
        rss_mib=max(each["rss_mib"] for each in told),
    )


def _child(work: str, prefix: str, target: str) -> int:
    """Move every raw blob of a prefix, as the sealing worker does, or as a copy would; print what it cost."""
    service = _service()
    raw, sealed = service.get_container_client("raw"), service.get_container_client(target)
    recipients = load_recipients(Path(os.environ["BENCH_CERTIFICATE"]).read_bytes(), "bench", datetime.now(UTC))
    blobs = [(blob.name, blob.size, f'"{blob.etag}"') for blob in raw.list_blobs(name_starts_with=prefix)]
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.time()
    for name, size, etag in blobs:
        blob = sealed.get_blob_client(name)
        assert not blob.exists()  # as the worker asks first: a file that is sealed already costs nothing more
        pieces, writer = read_blob(raw.get_blob_client(name), size, etag), BlockWriter(blob, attempt="0" * 32)
        if work == "copy":
            writer.stage(pieces)
            assert writer.commit({})
        else:
            _seal(pieces, name, size, recipients, writer)
    end, after = time.time(), resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"begin": begin, "end": end, "cpu_seconds": cpu, "rss_mib": after.ru_maxrss / 1024}))
    return 0


def _seal(pieces: Iterable[bytes], name: str, size: int, recipients: list[Recipient], writer: BlockWriter) -> None:
    file = FileInfo(batch="bench", name=name.rpartition("/")[2], plaintext_bytes=size, created=datetime.now(UTC))
    sealing = seal(pieces, file=file, recipients=recipients, format="native", hash_threads=False)
    writer.stage(sealing)
    assert writer.commit(sealing.metadata)


def _fill(raw: ContainerClient, mib: int, files: int) -> None:
    """Write the sources: random bytes; the large one repeats 16 blocks, so that making it takes no time."""
    large = raw.get_blob_client("large/file.bin")
    blocks = [BlobBlock(f"{number:08d}") for number in range(16)]
    for block in blocks:
        large.stage_block(block.id, os.urandom(BLOCK_BYTES))
    large.commit_block_list([blocks[number % 16] for number in range(mib * MIB // BLOCK_BYTES)])
    for number in range(files):
        raw.upload_blob(f"small/{number % TURNS}/{number:05d}.txt", os.urandom(SMALL_BYTES))


def _service() -> BlobServiceClient:
    return BlobServiceClient.from_connection_string(os.environ["BENCH_STORAGE"], **RANGES | PATIENCE)


def _certificate() -> bytes:
    key = rsa.generate_private_key(65537, 3072)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

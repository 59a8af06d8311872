"""`./sealift bench blob`: sealing from blob to blob, beside a plain copy by the same pipeline, SDK and storage.

Azurite over plain http, on disk; every measurement is a process of its own, in turns, and the best of the rounds counts.
`CPU` is that of the worker alone: storage has its own. A ratio compares wall time in one and the same run.
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
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from batches.stores import BLOCK_BYTES, PATIENCE
from batches.transfer import BlockWriter, read_blob
from encryption import FileInfo, Recipient, load_recipients, seal
from local.services.azurite import Azurite

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024
LARGE_RATIO, SMALL_RATIO, CPU_MS_A_MIB, RSS_MIB, SCALE = 0.95, 0.9, 4.5, 300, 1.6
SMALL_BYTES = 50 * 1024


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
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", nargs=3, metavar=("WORK", "PREFIX", "TARGET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        return _child(*arguments.child)
    with tempfile.TemporaryDirectory(prefix="sealift-bench-") as folder:
        storage = Azurite(Path(folder) / "azurite", accounts=["bench"])
        with storage:
            os.environ["BENCH_STORAGE"] = storage.connection_string("bench")
            return _compare(Path(folder), arguments.mib, arguments.files, arguments.rounds)


def _compare(folder: Path, mib: int, files: int, rounds: int) -> int:
    (folder / "cert.pem").write_bytes(_certificate())
    os.environ["BENCH_CERTIFICATE"] = str(folder / "cert.pem")
    _fill(_service().create_container("raw"), mib, files)
    works = [(work, size) for size in ("large/", "small/") for work in ("copy", "seal")]
    best: dict[tuple[str, str], Figure] = {}
    for number in range(rounds):
        for work, size in works:
            found = _measure([(work, size)], f"{work}-{size[:-1]}-{number}")
            best[work, size] = min(best.get((work, size), found), found, key=lambda figure: figure.seconds)
    pair = _measure([("seal", "small/0"), ("seal", "small/1")], "pair")
    print(f"{'blob to blob':<30} {'MB/s':>7} {'files/s':>8} {'CPU ms/MiB':>11} {'RSS MiB':>8} {'of copy':>8}")
    for (work, size), figure in best.items():
        moved_mib = mib if size == "large/" else files * SMALL_BYTES / MIB
        count = 1 if size == "large/" else files
        name = f"{work} {mib} MiB" if size == "large/" else f"{work} {files:,} x 50 KiB"
        ratio = best["copy", size].seconds / figure.seconds
        speed, cpu = moved_mib * MIB / 1e6 / figure.seconds, figure.cpu_seconds * 1000 / moved_mib
        print(f"{name:<30} {speed:7.0f} {count / figure.seconds:8.1f} {cpu:11.2f} {figure.rss_mib:8.0f} {ratio:8.2f}")
    scale = best["seal", "small/"].seconds / pair.seconds
    print(f"{'two workers, small files':<30} {'':>7} {files / pair.seconds:8.1f} {'':>11} {pair.rss_mib:8.0f}")
    print(f"two workers are {scale:.2f} times as fast as one, on {os.cpu_count()} cores that storage needs too")
    return _judge(best, mib, scale)


def _judge(best: dict[tuple[str, str], Figure], mib: int, scale: float) -> int:
    large, small = best["seal", "large/"], best["seal", "small/"]
    bars = [
        (
            f"sealing a large file runs at {LARGE_RATIO} of a copy or more",
            best["copy", "large/"].seconds / large.seconds >= LARGE_RATIO,
        ),
        (
            f"sealing small files runs at {SMALL_RATIO} of a copy or more",
            best["copy", "small/"].seconds / small.seconds >= SMALL_RATIO,
        ),
        (f"at most {CPU_MS_A_MIB} ms of CPU a MiB, with hashes", large.cpu_seconds * 1000 / mib <= CPU_MS_A_MIB),
        (f"at most {RSS_MIB} MiB of memory", large.rss_mib <= RSS_MIB),
    ]
    if (os.cpu_count() or 1) >= 4:  # fewer cannot tell: two workers and storage are three busy processes
        bars.append((f"two workers are {SCALE} times as fast as one or more", scale >= SCALE))
    for text, held in bars:
        print(f"  {'+' if held else 'x'} {text}")
    return 0 if all(held for _, held in bars) else 1


def _measure(works: Iterable[tuple[str, str]], target: str) -> Figure:
    """Run works at the same time, each in a process of its own, into one new container."""
    container = _service().create_container(target)
    command = [sys.executable, "-m", "benchmarks.blob", "--child"]
    running = [subprocess.Popen([*command, *work, target], cwd=ROOT, stdout=subprocess.PIPE) for work in works]
    told = [json.loads(process.communicate()[0]) for process in running]
    container.delete_container()
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
        pieces = read_blob(raw.get_blob_client(name), size, etag)
        writer = BlockWriter(sealed.get_blob_client(name), attempt="0" * 32)
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
    sealing = seal(pieces, file=file, recipients=recipients, format="native")
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
        raw.upload_blob(f"small/{number % 2}/{number:05d}.txt", os.urandom(SMALL_BYTES))


def _service() -> BlobServiceClient:
    sizes = {"max_single_get_size": BLOCK_BYTES, "max_chunk_get_size": BLOCK_BYTES}
    return BlobServiceClient.from_connection_string(os.environ["BENCH_STORAGE"], **sizes, **PATIENCE)


def _certificate() -> bytes:
    key = rsa.generate_private_key(65537, 3072)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

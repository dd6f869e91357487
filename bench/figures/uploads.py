"""Files coming in, with no processor beside: how fast a large one is taken, and how long small ones take."""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

from bench import files
from bench.bench import Bench, NotMeasured
from bench.registry import measures
from bench.report import Figure
from bench.running import bench_token, upload_and_receiver

SMALL_UPLOADS = 400
SMALL_ROWS = 20
TIMEOUT_SECONDS = 300.0


@measures("upload_throughput")
def upload_throughput(bench: Bench) -> Iterator[Figure]:
    """Megabytes a second from the first byte to the 202, beside the same server when it only reads and hashes."""
    with (
        bench.subfolder("uploads") as folder,
        bench.database() as url,
        upload_and_receiver(bench, url) as services,
    ):
        file = files.products(folder / "products.csv", bench.rows)
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(bench.rounds):
            for service, taken in zip(services, seconds, strict=True):
                taken.append(_send(service.url, file))
        size = file.stat().st_size
    value, baseline = (size / 1e6 / median(taken) for taken in seconds)
    detail = {"bytes": size, "seconds": seconds[0], "baseline_seconds": seconds[1]}
    yield Figure("upload_throughput", value, "MB/s", baseline, detail=detail)


@measures("upload_small_p99")
def upload_small_p99(bench: Bench) -> Iterator[Figure]:
    """Milliseconds until a small file is answered, at the 99th percentile, one after the other, beside the same server."""
    with (
        bench.subfolder("uploads") as folder,
        bench.database() as url,
        upload_and_receiver(bench, url) as services,
    ):
        small = [
            files.products(folder / f"{number}.csv", SMALL_ROWS, first=number * SMALL_ROWS)
            for number in range(SMALL_UPLOADS)
        ]
        ours, theirs = ([_send(service.url, file) * 1e3 for file in small] for service in services)
    detail = {
        "uploads": SMALL_UPLOADS,
        "bytes": small[0].stat().st_size if small[0].exists() else None,
        "median": median(ours),
        "baseline_median": median(theirs),
    }
    yield Figure("upload_small_p99", _p99(ours), "ms", _p99(theirs), detail=detail)


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]


def _send(url: str, file: Path) -> float:
    """Seconds to send a file as the body of a request of its own connection, straight from the page cache.

    Raises:
        NotMeasured: it was not accepted.
    """
    address = urlsplit(url)
    head = (
        "POST /api/v1/uploads?dataset=products&force=true&file_name=products.csv HTTP/1.1\r\n"
        f"Host: {address.netloc}\r\nAuthorization: Bearer {bench_token()}\r\nContent-Type: text/csv\r\n"
        f"Content-Length: {file.stat().st_size}\r\nConnection: close\r\n\r\n"
    )
    began = time.perf_counter()
    with (
        closing(socket.create_connection((address.hostname, address.port), TIMEOUT_SECONDS)) as connection,
        file.open("rb") as content,
    ):
        connection.sendall(head.encode())
        connection.sendfile(content)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    seconds = time.perf_counter() - began
    status, _, body = answer.partition(b"\r\n\r\n")
    if not status.startswith(b"HTTP/1.1 202"):
        raise NotMeasured(f"the upload was answered {status[:40]!r}: {_detail(body)}")
    return seconds


def _detail(body: bytes) -> object:
    try:
        return json.loads(body)["detail"]
    except (ValueError, LookupError):
        return body[:200]

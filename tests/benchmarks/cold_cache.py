"""What leaves S3 when many workers of a machine begin at once: `python -m tests.benchmarks.cold_cache`.

Eight processes (four lanes of two workers, each lane with a seed of its own) read one prepared data set from S3 into
one empty cache folder, all from the same moment on, until each has read its share of an epoch. S3 is moto's server on
loopback, behind a proxy that counts the requests for each object and the bytes of its answers' bodies; what retries
fetch counts as well. Prints the bytes of shards that left S3 over the bytes of the shards (1.00 is each shard once),
the requests for each shard, and the seconds until the last process was done.
"""

import argparse
import logging
import multiprocessing
import os
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.benchmarks import generated, setting

LANES, WORKERS = 4, 2
BUCKET = "benchmark"


@dataclass
class Left:
    """What left S3, for each path: the requests, and the bytes of their answers' bodies."""

    address: str
    requests: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)


@contextmanager
def counting(server: str) -> Iterator[Left]:
    """A proxy on loopback that hands GETs to `server` and counts."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            with urllib.request.urlopen(urllib.request.Request(server + self.path, headers=headers)) as answer:
                body = answer.read()
            with lock:
                left.requests[self.path] += 1
                left.bytes[self.path] += len(body)
            self.send_response(answer.status)
            for name in ("ETag", "Content-Type", "Content-Length", "Last-Modified"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    left = Left(f"http://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield left
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def read_share(uri: str, lane: int, rank: int, start: Any) -> None:
    """A worker: read this rank's half of each update of the lane's first epoch."""
    from cluster.stores import store_of
    from trainer.data.manifest import read
    from trainer.data.rows import open_rows
    from trainer.order import plan
    from trainer.order.permutation import rows_at

    start.wait()
    data = store_of(uri)
    rows = open_rows(data, read(data).splits["train"])
    for update in range(len(rows) // 64):
        share = plan.share(plan.positions_of(update, 64), rank=rank, workers=WORKERS)
        rows.tokens(rows_at(share, rows=len(rows), seed=lane))


@contextmanager
def s3_with(folder: Path) -> Iterator[str]:
    """The address of a server that speaks S3 and holds the files of `folder`."""
    import boto3
    from moto.server import ThreadedMotoServer

    os.environ.update(
        AWS_ACCESS_KEY_ID="fake-key",
        AWS_SECRET_ACCESS_KEY="fake-secret",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket=BUCKET)
        for file in folder.iterdir():
            client.upload_file(str(file), BUCKET, f"data/{file.name}")
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def start_all_at_once() -> float:
    """The seconds from the moment that all workers begin until the last one is done."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(LANES * WORKERS + 1)
    uri = f"s3://{BUCKET}/data"
    workers = [
        spawn.Process(target=read_share, args=(uri, lane, rank, start), daemon=True)
        for lane in range(LANES)
        for rank in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    started = time.monotonic()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a worker failed")
    return time.monotonic() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--rows", type=int, default=8_000, help="of a shard (default: %(default)s)")
    options = parser.parse_args()
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        manifest = generated.write_prepared(home / "data", shards=options.shards, rows_a_shard=options.rows)
        with s3_with(home / "data") as server, counting(server) as left:
            os.environ["AWS_ENDPOINT_URL"] = left.address
            seconds = start_all_at_once()
    shards = manifest.splits["train"].shards
    paths = [f"/{BUCKET}/data/{shard.file}" for shard in shards]
    size, moved = sum(shard.bytes for shard in shards), sum(left.bytes[path] for path in paths)
    requests = [left.requests[path] for path in paths]
    print(f"{len(shards)} shards, {size:,} bytes; {LANES * WORKERS} processes, done after {seconds:.1f} s")
    print(f"bytes of shards that left S3: {moved:,}; other requests: {left.requests.total() - sum(requests)}")
    setting.figure("bytes of shards that left S3 / bytes of the shards", f"{moved / size:.2f}", "1.00")
    setting.figure(
        f"requests for a shard, {LANES * WORKERS} processes at once", f"{min(requests)}-{max(requests)}", "1"
    )


if __name__ == "__main__":
    main()

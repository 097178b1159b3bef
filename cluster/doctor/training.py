"""The checks of a training on this machine: layouts, repetition, two workers, and running out of memory."""

import contextlib
import hashlib
import ipaddress
import multiprocessing
import os
import re
import struct
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cluster.doctor.finding import BewareError, Site, WrongError
from cluster.process.ports import free_ports
from cluster.study.spec import StudySpec
from trainer.machine import peers
from trainer.trial import TrialSpec

ROWS = 600
UPDATES = 50
SUMMED_BYTES = 4 * 2**20
SUMS = 20
SECONDS = 600.0
LIMIT_BYTES, ALLOCATED_BYTES = 2 * 2**30, 4 * 2**30
_STUDY = {
    "study": "doctor",
    "task": "classification",
    "model": {"embedding_units": 16, "lstm_units": 16, "dropout": 0.2},
    "axes": {"global_batch": [64], "learning_rate": 0.01, "seeds": 1},
    "budget": {"updates": UPDATES},
}
Answer = TypeVar("Answer")


def layouts(site: Site) -> str:
    """Every layout of a real batch gives the same update, as `batchscope check` proves it."""
    from cluster.lanes.check import check
    from cluster.process import ray_session

    spec, trial = studied(site)
    with ray_session.local(num_cpus=2):
        [proof] = check([trial], data=spec.data)
    if not proof.passed:
        raise WrongError(f"layouts differ by {proof.largest:.1e}, {proof.tolerance:.0e} is allowed: do not train here")
    return f"64 rows in every layout: at most {proof.largest:.1e} apart, {proof.tolerance:.0e} is allowed"


def repeats(site: Site) -> str:
    """The same updates in two fresh processes give the same weights, to the last bit."""
    spec, trial = studied(site)
    first, second = (_apart(_trained, spec.data, trial, str(site.folder / name)) for name in ("first", "second"))
    if first != second:
        raise BewareError(f"{UPDATES} updates twice give different weights: rows are marked with repeats = 0")
    return f"{UPDATES} updates twice: sha256 {first[:12]}"


def two_workers(site: Site) -> str:
    """Two workers here sum as one does; how fast, and who could reach them."""
    addresses, secret = [f"127.0.0.1:{port}" for port in free_ports(2)], peers.new_secret()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [pool.submit(_summed, rank, addresses, secret) for rank in range(2)]
        answers = [one.result(timeout=SECONDS) for one in found]
    if {total for total, _, _ in answers} != {3.0}:
        raise WrongError(f"1 + 2 on two workers is {answers[0][0]:g}: do not train on two workers here")
    speed = min(rate for _, rate, _ in answers) / 2**20
    if open_ones := sorted({place for _, _, places in answers for place in places if not _is_loopback(place)}):
        raise WrongError(f"a worker listens at {open_ones[0]}, where other machines reach it: report it")
    return f"{speed:,.0f} MiB/s, nobody listens but on loopback"


def out_of_memory(site: Site) -> str:
    """An allocation beyond a limit is an error that a worker understands, not the end of the machine."""
    sign = _apart(_exhausted)
    if sign is None:
        raise WrongError("4 GiB were allocated under a limit of 2 GiB: memory_gib holds nobody on this machine")
    return f"refused, and understood: {sign}"


def studied(site: Site) -> tuple[StudySpec, TrialSpec]:
    """A study of some of the bundled articles, prepared once, and its one trial."""
    import pyarrow.parquet as pq
    import yaml

    from cluster import articles
    from cluster.prepare import prepare
    from cluster.study import axes
    from cluster.study.spec import parse
    from trainer.data.manifest import read
    from trainer.data.store import Folder

    data = site.folder / "data"
    if not data.exists():
        some = pq.read_table(articles.path()).slice(0, ROWS)
        pq.write_table(some, site.folder / "articles.parquet")
        prepare([str(site.folder / "articles.parquet")], str(data), text="text", label="label", max_tokens=64)
    manifest = read(Folder(str(data)))
    spec = parse(yaml.safe_dump({**_STUDY, "data": str(data), "summary": str(site.folder / "summary")}), where="doctor")
    [trial] = axes.trials(spec, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    return spec, trial


def _apart(body: Callable[..., Answer], *arguments: Any) -> Answer:
    """What `body` returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(body, *arguments).result(timeout=SECONDS)


def _trained(data: str, trial: TrialSpec, folder: str) -> str:
    """The sha256 of the weights after the trial."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import tensorflow as tf

    from trainer.checkpoint import Checkpoints
    from trainer.data.splits import open_data
    from trainer.data.store import Folder
    from trainer.loop import train
    from trainer.machine import device
    from trainer.order.world import World
    from trainer.update.collective import Collective
    from trainer.update.shape import Shape
    from trainer.update.update import Learner

    device.set_up(threads=0, gpus=len(tf.config.list_physical_devices("GPU")))
    manifest, splits = open_data(Folder(data), trial.data_hash)
    learner = Learner(Shape.of(trial, manifest), Collective(World(0, 1)))
    train(
        trial,
        learner=learner,
        data=splits,
        micro_batch=64,
        checkpoints=Checkpoints(Folder(folder), trial.trial_id),
        checkpoint_every_seconds=SECONDS,
        publish=lambda evaluation: None,
        heartbeat=lambda progress: None,
    )
    return hashlib.sha256(b"".join(array.tobytes() for array in learner.weights())).hexdigest()


def _summed(rank: int, addresses: list[str], secret: bytes) -> tuple[float, float, list[str]]:
    """On one of two workers: 1 + 2, the bytes summed a second, and where this process listens."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import tensorflow as tf

    from trainer.order.world import World
    from trainer.update.collective import Collective

    peers.introduce(rank, addresses, secret)
    collective = Collective(World(rank, len(addresses)))
    total = float(collective.sum(tf.constant(rank + 1.0)))
    many = tf.ones([SUMMED_BYTES // 4])
    collective.sum(many)
    began = time.perf_counter()
    for _ in range(SUMS):
        collective.sum(many).numpy()
    return total, SUMS * SUMMED_BYTES / (time.perf_counter() - began), listeners()


def listeners() -> list[str]:
    """The addresses at which this process listens on TCP, by /proc/net."""
    own = []
    for link in Path("/proc/self/fd").iterdir():
        # The one by which this folder is read is gone by now.
        with contextlib.suppress(OSError):
            own.append(os.readlink(link))
    inodes = {match[1] for name in own if (match := re.fullmatch(r"socket:\[(\d+)\]", name))}
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            columns = line.split()
            # 0A is LISTEN (include/net/tcp_states.h).
            if columns[3] == "0A" and columns[9] in inodes:
                found.append(_address(columns[1]))
    return found


def _address(text: str) -> str:
    """`0100007F:1F90` as 127.0.0.1:8080; an IPv6 address, which is written as four little-endian words, in brackets."""
    host, port = text.split(":")
    words = struct.pack(f"<{len(host) // 8}I", *(int(host[at : at + 8], 16) for at in range(0, len(host), 8)))
    address = ipaddress.ip_address(words)
    return f"{address if address.version == 4 else f'[{address}]'}:{int(port, 16)}"


def _is_loopback(place: str) -> bool:
    return place.startswith(("127.", "[::1]:", "[::ffff:127.", "[::ffff:7f"))


def _exhausted() -> str | None:
    """How an allocation beyond the limit was refused; None if it was not."""
    import numpy as np

    from trainer.machine import memory

    memory.limit_memory(LIMIT_BYTES)
    try:
        np.ones(ALLOCATED_BYTES, "uint8")
    except MemoryError as problem:
        memory.lift_limit()
        return type(problem).__name__ if memory.is_exhausted(problem) else None
    return None

"""A study on its lanes: the summary opened and ours, a Ray of this machine, and the trials that are not finished."""

import contextlib
import fcntl
import importlib.metadata
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.preflight import Study
from cluster.study import identity
from cluster.summary import query
from cluster.summary.store import Summary, check_writable
from trainer.errors import InputError
from trainer.report import State
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from cluster.lanes.schedule import Event, Schedule


def remaining(study: Study, summary: Summary) -> list[TrialSpec]:
    """The trials that have no answer yet."""
    finished = set(query.finished(query.trials(summary, study.spec.study))["trial_id"].to_pylist())
    return [trial for trial in study.trials if trial.trial_id not in finished]


@contextlib.contextmanager
def opened_summary(study: Study) -> Iterator[Summary]:
    """The summary, proven writable and ours while inside; what a killed driver left is written as LOST.

    Raises:
        InputError: it cannot be written, another process runs this study, or the name belongs to another study.
        NotReadyError: the store cannot be reached.
    """
    check_writable(study.spec.summary)
    summary = Summary(study.spec.summary)
    with _only_driver(summary, study.spec.study):
        _check_name(study, summary)
        summary.write_study(
            {
                "study": study.spec.study,
                "spec_hash": identity.spec_hash(study.spec),
                "spec_json": identity.canonical_json(study.spec),
                "data": study.spec.data,
                "data_hash": study.manifest.data_hash,
                "task": study.spec.task,
                "code_version": importlib.metadata.version("batchscope"),
                "started_at": datetime.now(UTC),
                "trials": len(study.trials),
            }
        )
        _write_lost(summary, study.spec.study, "the driver of the study went away before the trial ended")
        try:
            yield summary
        finally:
            # By now no lane is left that could write a row.
            _write_lost(summary, study.spec.study, "its lane went away before the trial ended")


@contextlib.contextmanager
def local_ray(study: Study) -> Iterator[None]:
    """A Ray of this machine alone, on loopback, with room for the study's lanes.

    Ray prints a cluster's warnings on the driver's stdout, which is for results: inside, stdout leads nowhere, and
    what Ray has to say is in its own logs.
    """
    # All three are read when Ray is imported. Nothing about this study leaves the machine; and without the second,
    # whose name is of the systems on which it is the default, Ray replaces 127.0.0.1 by an outward address and
    # listens on every interface (services.resolve_ip_for_localhost in Ray 2.60).
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    # Without it Ray keeps some lines back and prints them on stderr when it ends.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    import ray

    from cluster.lanes.schedule import HEAD

    ray.init(
        address="local",
        num_cpus=math.ceil(study.placed.cpus),
        num_gpus=math.ceil(study.placed.gpus),
        resources={HEAD: 1},
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def training(
    study: Study, trials: list[TrialSpec], summary: Summary, watch: "Callable[[Event], None]"
) -> "Iterator[Schedule]":
    """The schedule of `trials` on the study's lanes, begun, on the Ray that is connected."""
    from cluster.lanes.board import start_board
    from cluster.lanes.lane import LaneSettings
    from cluster.lanes.schedule import Schedule

    spec, placed = study.spec, study.placed
    with tempfile.TemporaryDirectory(prefix="batchscope-") as storage:
        settings = LaneSettings(
            study=spec.study,
            board=start_board(),
            recorder=summary,
            data=spec.data,
            checkpoints=f"{summary.uri}/checkpoints/study={spec.study}",
            checkpoint_every_seconds=spec.checkpoint_every_seconds,
            workers=placed.workers,
            cpus_per_worker=spec.resources.cpus_per_worker,
            gpus_per_worker=spec.resources.gpus_per_worker,
            threads=placed.threads_per_worker,
            micro_batches=study.micro_batches,
            facts={
                "spec_hash": identity.spec_hash(spec),
                "code_version": importlib.metadata.version("batchscope"),
                "node_type": "local",
                "phase": "grid",
            },
            storage=storage,
        )
        schedule = Schedule(trials, lanes=min(placed.lanes, len(trials)), settings=settings, watch=watch)
        schedule.start()
        yield schedule


def _write_lost(summary: Summary, study: str, error: str) -> None:
    """Write the row of each attempt that began and has none."""
    for row in summary.lost_attempts(study):
        summary.write_trial({**row, "state": str(State.LOST), "error": error, "ended_at": datetime.now(UTC)})


@contextlib.contextmanager
def _only_driver(summary: Summary, study: str) -> Iterator[None]:
    """Hold the study's lock in a summary that is a folder of this machine.

    Raises:
        InputError: another process holds it.
    """
    if summary.uri.startswith("s3://"):
        yield
        return
    folder = Path(summary.uri) / "attempts" / f"study={study}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".driver.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"study {study!r} is being run by another process into {summary.uri}: wait for it, or stop it first"
            ) from None
        yield


def _check_name(study: Study, summary: Summary) -> None:
    """The study's name means what it meant when it was run before."""
    spec, data_hash = study.spec, study.manifest.data_hash
    for row in query.studies(summary).to_pylist():
        if row["study"] != spec.study:
            continue
        different = identity.changed(row["spec_json"], spec)
        if row["data_hash"] != data_hash:
            different.append(f"data: {row['data']} ({row['data_hash'][:8]}) -> {spec.data} ({data_hash[:8]})")
        if different:
            raise InputError(
                f"study {spec.study!r} was run before with another {'; '.join(different)}: give this one another name"
            )

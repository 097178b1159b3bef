"""A study on its lanes: the summary opened and ours, what is answered in it, and the schedule of what is not."""

import contextlib
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cluster.analysis.declared import begun
from cluster.process import scratch
from cluster.study import identity, memory, placement
from cluster.study.at_once import RowsAtOnce
from cluster.study.protocol import Plan
from cluster.study.spec import ValidationLoss
from cluster.study.study import Study, sizes_of
from cluster.summary import experiments, query
from cluster.summary.driver import lease
from cluster.summary.driver.hold import Hold, ensure
from cluster.summary.driver.lock import locked
from cluster.summary.known_losses import answers, memory_model, micro_batches
from cluster.summary.store import ConflictError, Summary, check_writable
from trainer.errors import InputError, UserError
from trainer.report import State

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.lanes.schedule import Event, Schedule

# How long a lane that lost a machine waits for another before it goes on with fewer workers: a spot machine comes
# back in minutes or not for hours; where no machine can come, only the dead workers' resources are waited for.
SECONDS_FOR_MACHINES = 300.0
SECONDS_FOR_WORKERS = 15.0


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A summary that is open for one study, the study as it goes on from what is there, and the hold on its name."""

    summary: Summary
    study: Study
    hold: Hold

    def write_lost(self, error: str = "its lane went away before the trial ended") -> None:
        """Write the row of each attempt that began and has none: call it when no lane is left.

        Of another driver, which may have begun some, nothing is written.
        """
        if self.hold.lost() is not None:
            return
        for row in self.summary.lost_attempts(self.study.spec.study):
            # A lane on a cluster that cannot be reached may have come to the trial's end in between.
            with contextlib.suppress(ConflictError):
                self.summary.write_trial(
                    {**row, "state": str(State.LOST), "error": error, "ended_at": datetime.now(UTC)}
                )


@contextlib.contextmanager
def opened_summary(study: Study, say: Callable[[str], None]) -> Iterator[Opened]:
    """The summary, proven writable and ours while inside, and the study as it goes on from what is there.

    What a killed driver left is written as LOST. `say` is told what is waited for.

    Raises:
        InputError: it cannot be written, another process runs this study, or the name belongs to another study.
        NotReadyError: the store cannot be reached, or the hold was lost inside.
    """
    check_writable(study.spec.summary)
    summary = Summary(study.spec.summary)
    with only_driver(summary, study.spec.study, say) as hold:
        _check_name(study, summary)
        study = as_begun(study, summary)
        declare(study, summary, study.plan(answers(summary, study.spec.study, identity.spec_hash(study.spec))))
        opened = Opened(summary=summary, study=study, hold=hold)
        opened.write_lost("the driver of the study went away before the trial ended")
        try:
            yield opened
        except BaseException:
            # What ended it may be that nothing can be written: the next driver writes what is missing.
            with contextlib.suppress(UserError):
                opened.write_lost()
            raise
        opened.write_lost()


def as_begun(study: Study, summary: Summary) -> Study:
    """The study with what it began with: the seeds of its screen, and the target of its confirmations."""
    stops = study.spec.protocol is not None and study.spec.protocol.stop_at_target
    specs = query.with_spec(query.studies(summary, study.spec.study))
    trials = experiments.of_spec(query.trials(summary, study.spec.study), _spec_row(study))
    return replace(
        study,
        screened_on=experiments.screened_on(trials),
        begun=begun(specs, trials) if specs.num_rows and stops else None,
    )


def _spec_row(study: Study) -> dict[str, Any]:
    """What a row of `studies` says of the spec itself."""
    return {
        "study": study.spec.study,
        "spec_hash": identity.spec_hash(study.spec),
        "spec_json": identity.canonical_json(study.spec),
        "data": study.spec.data,
        "data_hash": study.manifest.data_hash,
        "task": study.spec.task,
        "train_rows": study.manifest.splits["train"].rows,
    }


def declare(study: Study, summary: Summary, plan: Plan) -> None:
    """Write what the study asks for, as far as `plan` knows by now."""
    margin = study.spec.margin
    target = study.spec.target
    now, spec_hash = datetime.now(UTC), identity.spec_hash(study.spec)
    known = {row["spec_hash"]: row["declared_at"] for row in query.studies(summary, study.spec.study).to_pylist()}
    summary.write_study(
        {
            **_spec_row(study),
            "code_version": importlib.metadata.version("batchscope"),
            "started_at": now,
            "declared_at": known.get(spec_hash) or now,
            "baseline_loss": study.manifest.baseline_loss(),
            "best_constant_loss": study.manifest.best_constant_loss(),
            "trials": study.asked(plan),
            "target": target.validation_loss if isinstance(target, ValidationLoss) else None,
            "margin": margin.validation_loss if margin else None,
        }
    )


@contextlib.contextmanager
def training(
    study: Study, losses: Mapping[str, float], summary: Summary, watch: "Callable[[Event], None]"
) -> "Iterator[Schedule]":
    """The schedule of the trials that have no answer in `losses`, begun, on the Ray that is connected."""
    from cluster.lanes.board import start_board
    from cluster.lanes.schedule import Schedule
    from cluster.lanes.settings import LaneSettings

    spec, placed = study.spec, study.placed
    with scratch.folder("batchscope-tune-", tempfile.gettempdir()) as storage:
        spec_hash = identity.spec_hash(spec)
        settings = LaneSettings(
            study=spec.study,
            board=start_board(micro_batches(summary, spec.study, spec_hash)),
            recorder=summary,
            data=spec.data,
            train_rows=study.manifest.splits["train"].rows,
            checkpoints=f"{summary.uri}/checkpoints/study={spec.study}",
            checkpoint_every_seconds=spec.checkpoint_every_seconds,
            workers=study.workers,
            cpus_per_worker=spec.resources.cpus_per_worker,
            gpus_per_worker=spec.resources.gpus_per_worker,
            threads=placed.threads_per_worker,
            micro_batches=study.micro_batches,
            rows_at_once=rows_at_once(study, query.probes(summary, spec.study)),
            memory_bytes=study.memory_bytes,
            seconds_for_workers=SECONDS_FOR_MACHINES if study.capacity.grows else SECONDS_FOR_WORKERS,
            facts={
                "spec_hash": spec_hash,
                "code_version": importlib.metadata.version("batchscope"),
            },
            storage=storage,
        )
        schedule = Schedule(
            study.plan,
            losses,
            lanes=min(placed.lanes, len(study.expected())),
            settings=settings,
            stop_early=spec.protocol is not None and spec.protocol.stop_early,
            begins=lambda plan: declare(study, summary, plan),
            watch=watch,
        )
        schedule.start()
        yield schedule


def rows_at_once(study: Study, probes: "pa.Table") -> dict[str, RowsAtOnce]:
    """The rows with which a worker begins, for each dtype: by the last of `probes`, or by a guess of its memory."""
    most: dict[str, int] = {}
    for trial in study.trials:
        if study.memory_bytes is None:
            break
        known = memory_model(probes, trial) or memory.guess(trial, **sizes_of(trial, study.manifest))
        rows = known.first_rows(limit_bytes=study.memory_bytes, length=study.manifest.longest)
        most[trial.dtype] = min(rows, most.get(trial.dtype, rows))
    resources = study.spec.resources
    return {dtype: placement.rows_at_once(resources, most.get(dtype)) for dtype in study.spec.axes.dtype}


@contextlib.contextmanager
def only_driver(summary: Summary, study: str, say: Callable[[str], None]) -> Iterator[Hold]:
    """Hold the study's lock in a summary that is a folder of this machine, or its lease in a bucket.

    `say` is told what is waited for.

    Raises:
        InputError: another process holds it.
        NotReadyError: it was lost inside: another process may have begun to run the study.
    """
    in_bucket = summary.uri.startswith("s3://")
    with lease.held(summary.store, study, say) if in_bucket else locked(summary.uri, study) as hold:
        yield hold
        ensure(hold)


def _check_name(study: Study, summary: Summary) -> None:
    """The study's name means what it meant when it was run before."""
    spec, data_hash = study.spec, study.manifest.data_hash
    for row in query.studies(summary).to_pylist():
        if row["study"] != spec.study or row["spec_json"] is None:
            continue
        different = identity.changed(row["spec_json"], spec)
        if row["data_hash"] != data_hash:
            different.append(f"data: {row['data']} ({row['data_hash'][:8]}) -> {spec.data} ({data_hash[:8]})")
        if different:
            raise InputError(
                f"study {spec.study!r} was run before with another {'; '.join(different)}: give this one another name"
            )

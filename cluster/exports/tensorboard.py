"""A study for TensorBoard: a folder of events for each trial, with a readable name.

A repeated export leaves the folder of a trial with nothing new unchanged. Otherwise one file with all events replaces
the previous file, under the next number. It begins with a session start at update 0, at which a watching TensorBoard
forgets what it had read. Other files in the folder are left alone.
"""

import os
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.exports.files import part_of_path
from cluster.exports.runs import CHOSEN, LAYOUT, QUALITY, ExportedRun, Runs
from cluster.prepare.progress import Progress, silent
from cluster.summary.tables import COMPLETED, STOPPED, TEXT, TRIALS
from cluster.text.masked import masked
from trainer.errors import InputError

# TensorBoard reads files with `tfevents` in their names; our names also identify the trial.
OURS = re.compile(r"events\.out\.tfevents\.(\d{10})\.(\w+)\.batchscope")
HPARAMS = (*CHOSEN, *LAYOUT)


def export(runs: Runs, folder: str, *, progress: Progress = silent) -> Counter[str]:
    """Write `runs` under `folder`/STUDY; returns how many were `new`, `changed` or `unchanged`.

    Raises:
        InputError: the folder cannot be written, or a name in the summary leads out of it.
    """
    if not folder or "://" in folder:
        raise InputError(
            f"--to tensorboard:{masked(folder)} must name a folder on this machine, for example tensorboard:logs"
        )
    counts: Counter[str] = Counter(new=0, changed=0, unchanged=0)
    # Absolute, because tensorboardX would take `s3:` at the beginning of a path for a bucket.
    root = Path(folder, part_of_path(runs.study)).absolute()
    try:
        there = {match[2]: file for file in root.glob("*/*") if (match := OURS.fullmatch(file.name))}
        taken = {file.parent.name for file in there.values()}
        for done, run in enumerate(runs, start=1):
            before = there.get(run.trial_id)
            name = before.parent.name if before else part_of_path(_free(run, taken))
            taken.add(name)
            counts[_write(run, root / name, before)] += 1
            progress("writing for TensorBoard", done / len(runs))
    except OSError as problem:
        raise InputError(
            f"cannot write {problem.filename or root}: {problem.strerror}; choose another folder"
        ) from None
    return counts


def _free(run: ExportedRun, taken: set[str]) -> str:
    """A folder name for a run, with its trial_id if another trial has the same name."""
    return f"{run.name} {run.trial_id[:8]}" if run.name in taken else run.name


def _write(run: ExportedRun, folder: Path, before: Path | None) -> str:
    from tensorboardX.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        writer = RecordWriter(str(temporary))
        for event in _events(run):
            writer.write(event.SerializeToString(deterministic=True))
        writer.flush()
        writer.close()
        if before is not None and temporary.read_bytes() == before.read_bytes():
            return "unchanged"
        number = int(OURS.fullmatch(before.name)[1]) + 1 if before else 1  # type: ignore[index]
        os.replace(temporary, folder / f"events.out.tfevents.{number:010d}.{part_of_path(run.trial_id)}.batchscope")
    finally:
        temporary.unlink(missing_ok=True)
    if before is None:
        return "new"
    before.unlink()
    return "changed"


def _events(run: ExportedRun) -> Iterator[Any]:
    """The run as events: its start with its axes, its evaluations and, at its end, its figures."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.plugin_hparams_pb2 import SessionEndInfo, SessionStartInfo

    began, ended = run.started_at.timestamp(), run.ended_at.timestamp()
    yield Event(wall_time=began, file_version="brain.Event:2")
    yield Event(wall_time=began, step=0, session_log=SessionLog(status=SessionLog.START))
    start = SessionStartInfo(start_time_secs=began)
    for name, value in run.of(HPARAMS).items():
        setattr(start.hparams[name], "string_value" if isinstance(value, str) else "number_value", value)
    yield _hparams(began, "experiment", experiment=_columns())
    yield _hparams(began, "session_start_info", session_start_info=start)
    for moment in run.curve:
        yield _scalars(moment.at.timestamp(), moment.update, moment.values)
    if run.state is not None:
        last = run.row.get("updates") or (run.curve[-1].update if run.curve else 0)
        yield _scalars(ended, last, run.of(QUALITY))
        status = "STATUS_SUCCESS" if run.state in (COMPLETED, STOPPED) else "STATUS_FAILURE"
        yield _hparams(ended, "session_end_info", session_end_info=SessionEndInfo(status=status, end_time_secs=ended))


def _scalars(at: float, update: int, values: Mapping[str, float]) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
    return Event(wall_time=at, step=update, summary=summary)


def _columns() -> Any:
    """The columns of TensorBoard's table of runs, the same in every run because TensorBoard takes those of any run."""
    from tensorboardX.proto.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName

    kinds = {name: "DATA_TYPE_STRING" if TRIALS.field(name).type == TEXT else "DATA_TYPE_FLOAT64" for name in HPARAMS}
    return Experiment(
        hparam_infos=[HParamInfo(name=name, type=kind) for name, kind in kinds.items()],
        metric_infos=[MetricInfo(name=MetricName(tag=name)) for name in QUALITY],
    )


def _hparams(at: float, tag: str, **content: Any) -> Any:
    """A message to TensorBoard's table of runs."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    data = HParamsPluginData(version=0, **content).SerializeToString(deterministic=True)
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="hparams", content=data))
    return Event(wall_time=at, summary=Summary(value=[Summary.Value(tag=f"_hparams_/{tag}", metadata=metadata)]))

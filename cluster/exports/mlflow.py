"""A study in MLflow: an experiment with a run for each trial, whose evaluations are metrics by update.

A repeated export adds only what is new. A run is found by its tags `trial_id` and `attempt`, and only the missing steps
of a metric are logged (an MLflow folder would keep duplicates). The tag `exported` is set last, to `whole` once nothing
new can come; such a run costs nothing from then on. The run of an earlier attempt is deleted in MLflow's sense:
`mlflow runs restore` brings it back. It cannot be continued, because MLflow's params never change but the layout may
have, and two runs of one trial would count twice in every chart.
"""

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cluster.exports.runs import CHOSEN, FIGURES, LAYOUT, ExportedRun, Runs
from cluster.prepare.progress import Progress, silent
from cluster.summary.tables import CANCELLED, COMPLETED, LOST, STOPPED
from cluster.text.masked import masked
from trainer.errors import InputError, NotReadyError

STATUS = {COMPLETED: "FINISHED", STOPPED: "FINISHED", CANCELLED: "KILLED", LOST: "KILLED", None: "RUNNING"}
OTHER_STATUS = "FAILED"
TAGS = ("phase", "spec_hash", "data_hash", "code_version", "tensorflow_version", "kernel_path", "checkpoint_uri")
WHOLE = "whole"
# MLflow's `log_batch` takes at most 1000 metrics, params and tags together.
METRICS_PER_BATCH = 950
TAG_CHARACTERS = 5000
RUNS_PER_PAGE = 1000
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SETTINGS = {
    # Since 3.13, MLflow refuses folders without this.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # With its own settings, MLflow would wait minutes for a server that does not exist.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def export(runs: Runs, uri: str, *, progress: Progress = silent) -> Counter[str]:
    """Bring `runs` to the MLflow at `uri`: a folder, a server's http:// address, or anything else that MLflow accepts.

    Returns how many runs were `new`, `changed` or `unchanged`. Environment settings of MLflow that are not set are
    taken from SETTINGS.

    Raises:
        InputError: MLflow is not installed, does not accept the `uri`, or has deleted the experiment.
        NotReadyError: the server does not answer, or refuses.
    """
    _check(uri)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    counts: Counter[str] = Counter(new=0, changed=0, unchanged=0)
    progress("exporting to MLflow", 0.0)
    with _one_line(uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment_id = _experiment(client, runs.study)
        there = _there(client, experiment_id)
        for done, run in enumerate(runs, start=1):
            counts[_bring(client, experiment_id, run, there.get(run.trial_id, []))] += 1
            progress("exporting to MLflow", done / len(runs))
    return counts


def is_folder(uri: str) -> bool:
    """Whether MLflow treats `uri` as one of its folders."""
    return urlsplit(uri).scheme in ("", "file")


def _check(uri: str) -> None:
    if not uri:
        raise InputError("--to mlflow: needs an address, for example --to mlflow:http://127.0.0.1:5000")
    if importlib.util.find_spec("mlflow") is None:
        raise InputError("--to mlflow needs MLflow: pip install 'batchscope[mlflow]'")
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme in DATABASES and importlib.util.find_spec("sqlalchemy") is None:
        raise InputError(
            f"--to mlflow:{scheme}: a database needs the full MLflow: pip install mlflow, or give a folder or a "
            "server's http:// address"
        )


def _experiment(client: Any, study: str) -> str:
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return str(client.create_experiment(study))
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"MLflow's experiment {study!r} was deleted: `mlflow experiments restore -x {experiment.experiment_id}` "
            "brings it back, and `mlflow gc` makes room for a new one"
        )
    return str(experiment.experiment_id)


def _there(client: Any, experiment_id: str) -> dict[str, list[Any]]:
    """The exported runs of an experiment, by trial_id."""
    found: dict[str, list[Any]] = {}
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=RUNS_PER_PAGE, page_token=token)
        for run in page:
            if "trial_id" in run.data.tags and run.data.tags.get("attempt", "").isdigit():
                found.setdefault(run.data.tags["trial_id"], []).append(run)
        token = page.token
        if not token:
            return found


def _bring(client: Any, experiment_id: str, run: ExportedRun, there: list[Any]) -> str:
    """Bring one run up to date; returns `new`, `changed` or `unchanged`."""
    attempts = {int(one.data.tags["attempt"]): one for one in there}
    same = attempts.pop(run.attempt, None)
    # The exported summary may be an older copy.
    if max(attempts, default=0) > run.attempt or (same is not None and same.data.tags.get("exported") == WHOLE):
        return "unchanged"
    for earlier in attempts.values():
        client.delete_run(earlier.info.run_id)
    if same is None:
        new = client.create_run(experiment_id, start_time=_ms(run.started_at), tags=_tags(run), run_name=run.name)
        _log(client, new.info.run_id, run, {})
        return "new"
    run_id = same.info.run_id
    logged = {name: {one.step for one in client.get_metric_history(run_id, name)} for name in same.data.metrics}
    changed = _log(client, run_id, run, logged)
    return "changed" if changed or run.state is not None else "unchanged"


def _log(client: Any, run_id: str, run: ExportedRun, logged: dict[str, set[int]]) -> bool:
    """Log the steps of a run's metrics that are not in `logged`, in few requests; returns whether there were any."""
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(name, str(value)) for name, value in run.of((*CHOSEN, *LAYOUT)).items()]
    tags = _tags(run)
    if run.state is not None:
        client.set_terminated(run_id, STATUS.get(run.state, OTHER_STATUS), _ms(run.ended_at))
        tags["exported"] = WHOLE
    missing = [
        Metric(name, value, timestamp, step)
        for name, value, timestamp, step in _metrics(run)
        if step not in logged.get(name, ())
    ]
    while len(missing) > METRICS_PER_BATCH:
        client.log_batch(run_id, metrics=missing[:METRICS_PER_BATCH])
        missing = missing[METRICS_PER_BATCH:]
    # MLflow writes the tags of a batch last.
    client.log_batch(run_id, metrics=missing, params=params, tags=[RunTag(*tag) for tag in tags.items()])
    return bool(missing)


def _metrics(run: ExportedRun) -> Iterator[tuple[str, float, int, int]]:
    """Name, value, time and step of all metrics: the evaluations and, at the end, the trial's figures."""
    for moment in run.curve:
        for name, value in moment.values.items():
            yield name, value, _ms(moment.at), moment.update
    last = run.row.get("updates") or (run.curve[-1].update if run.curve else 0)
    for name, value in run.of(FIGURES).items():
        yield name, float(value), _ms(run.ended_at), last


def _tags(run: ExportedRun) -> dict[str, str]:
    known = {"trial_id": run.trial_id, "attempt": run.attempt, **run.of((*TAGS, "error"))}
    # The state of an attempt without a row is in no column: it is waiting, running or lost.
    return {name: str(value)[:TAG_CHARACTERS] for name, value in {**known, "state": run.state or "RUNNING"}.items()}


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


@contextmanager
def _one_line(uri: str) -> Iterator[None]:
    """Turn MLflow's errors, which have many lines and kinds, into one of ours."""
    shown = f"--to mlflow:{masked(uri)}"
    try:
        yield
    except (InputError, NotReadyError):
        raise
    except Exception as problem:
        if type(problem).__module__.partition(".")[0] in ("mlflow", "requests", "sqlalchemy"):
            reason = masked(str(problem).strip().splitlines()[0])
            raise NotReadyError(f"{shown} does not work: {reason}") from None
        if isinstance(problem, OSError):
            raise InputError(f"{shown}: {problem.strerror or problem}; name another place") from None
        raise

"""`batchscope.log_fit`: the epochs of one's own `model.fit` in a summary, as a run that is marked as foreign."""

import importlib.metadata
import os
import re
import time
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

# Epochs may be quick, and each write is an object in a store.
SECONDS_BETWEEN_PARTS = 10.0
_LOGGED = {"training_loss": "loss", "validation_loss": "val_loss"}


def log_fit(summary: str | os.PathLike[str] = "./summary", *, study: str, batch_size: int) -> Any:
    """A callback for Keras that logs each epoch: `model.fit(..., callbacks=[batchscope.log_fit("summary", ...)])`.

    >>> log = batchscope.log_fit("summary", study="wiki", batch_size=64)
    >>> model.fit(x, y, batch_size=64, validation_data=(x_val, y_val), callbacks=[log])
    >>> batchscope.Summary("summary").fits("wiki")

    The run is foreign: batchscope knows neither its data nor its code, so it is in no verdict and in no mean, and takes
    the place of no trial. `Summary.fits` and the SQL table `fits` have its epochs, each with `origin` foreign.

    Args:
        summary: the folder or `s3://` address of the results.
        study: the name under which the run is kept; a study of that name may exist or not.
        batch_size: the rows in one update, as given to `fit`.

    Raises:
        InputError: the name or the batch size cannot be one, or the summary is neither a folder nor a bucket.
    """
    from cluster.summary.store import Summary

    _check(study, batch_size)
    return _callback(_Fit(stored=Summary(os.fspath(summary)), study=study, batch_size=batch_size))


def _check(study: str, batch_size: int) -> None:
    from cluster.summary.tables import is_study_name
    from trainer.errors import InputError

    if not is_study_name(study):
        raise InputError(f"study={study!r} cannot be a name: use letters, digits and '-'")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}: give the rows in one update, a whole number from 1")


@dataclass(kw_only=True)
class _Fit:
    """One run of `model.fit` so far: its epochs that are not written yet, and where they go."""

    stored: Any
    study: str
    batch_size: int
    fit_id: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updates_before: int = 0
    waiting: list[dict[str, Any]] = field(default_factory=list)
    parts: int = 0
    written_at: float = 0.0

    def begin(self, model: Any) -> None:
        """Begin another run, after making sure that it can be written.

        Raises:
            InputError: the folder cannot be written.
            NotReadyError: the bucket cannot be written.
        """
        from cluster.summary.store import check_writable

        check_writable(self.stored.uri)
        self.fit_id, self.started_at = uuid.uuid4().hex[:16], datetime.now(UTC)
        self.waiting, self.parts, self.written_at = [], 0, time.monotonic()
        self.updates_before = _updates(model)

    def epoch(self, model: Any, epoch: int, logs: Mapping[str, Any]) -> None:
        """Keep an epoch, counted from 0 as Keras does, and write those that wait if it is time."""
        self.waiting.append(
            {
                "study": self.study,
                "fit_id": self.fit_id,
                "origin": "foreign",
                "epoch": epoch + 1,
                "started_at": self.started_at,
                "ended_at": datetime.now(UTC),
                "global_batch": self.batch_size,
                "updates": _updates(model) - self.updates_before,
                **_of_optimizer(model),
                **measured(logs),
            }
        )
        if time.monotonic() - self.written_at >= SECONDS_BETWEEN_PARTS:
            self.write()

    def write(self) -> None:
        """Write what waits; a training goes on without its log, and a Python warning says so."""
        from cluster.summary.store import ConflictError
        from trainer.errors import UserError

        self.written_at = time.monotonic()
        if not self.waiting:
            return
        try:
            self.stored.write_fit(self.waiting, part=self.parts)
        except (UserError, ConflictError, OSError) as problem:
            warnings.warn(f"{len(self.waiting)} epochs are not in the log yet: {problem}", stacklevel=4)
            return
        self.waiting, self.parts = [], self.parts + 1


def measured(logs: Mapping[str, Any]) -> dict[str, float]:
    """The columns that Keras' logs of an epoch have values for; an accuracy has many names there."""
    found = {column: logs[name] for column, name in _LOGGED.items() if name in logs}
    validation = next(filter(re.compile(r"val_(\w+_)?acc(uracy)?").fullmatch, logs), None)
    training = next(filter(re.compile(r"(?!val_)(\w+_)?acc(uracy)?").fullmatch, logs), None)
    accuracies = {"training_accuracy": training, "validation_accuracy": validation}
    found |= {column: logs[name] for column, name in accuracies.items() if name is not None}
    return {column: float(value) for column, value in found.items()}


def _updates(model: Any) -> int:
    optimizer = getattr(model, "optimizer", None)
    return int(optimizer.iterations) if optimizer is not None else 0


def _of_optimizer(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"keras_version": importlib.metadata.version("keras")}
    if (optimizer := getattr(model, "optimizer", None)) is not None:
        found |= {"keras_optimizer": type(optimizer).__name__, "learning_rate": float(optimizer.learning_rate)}
    return found


def _callback(fit: _Fit) -> Any:
    """The callback itself: its class needs Keras, which `import batchscope` does not."""
    import keras

    class FitLog(keras.callbacks.Callback):  # type: ignore[misc]
        """Passes what `fit` reports to the log."""

        def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
            fit.begin(self.model)

        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            fit.epoch(self.model, epoch, logs or {})

        def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
            fit.write()

    return FitLog()

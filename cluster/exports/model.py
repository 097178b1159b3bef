"""A trained model as files for plain Keras: `model.keras`, its tokenizer, and JSON that describes the model.

Loading them needs nothing of batchscope. A trial keeps only weights, so the model is built again from the trial's spec,
as a worker builds it, and is given those weights.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.exports.factory import file_of
from cluster.exports.found import FoundTrial
from cluster.process.files import save
from cluster.stores import store_of
from cluster.study.building import plain_model
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import CANCELLED, COMPLETED, DIVERGED, FAILED, LOST, STOPPED
from cluster.text.table import Column
from trainer.checkpoint import Arrays, Checkpoints
from trainer.data.custody import read_tokenizer
from trainer.data.inputs import TOKENS
from trainer.errors import DataError, InputError, nearest

INITIAL, BEST, LAST = MOMENTS = ("initial", "best", "last")
# Trials that have reached their own end; only these leave weights that will not change any more.
KEPT = (COMPLETED, STOPPED, DIVERGED)
COLUMNS = [
    Column("trial_id", ("", "trial")),
    Column("state", ("", "state")),
    Column("best_validation_loss", ("best val.", "loss"), decimals=4),
    Column("global_batch", ("global batch", "rows")),
    Column("learning_rate", ("learning", "rate")),
    Column("optimizer", ("", "optimizer")),
    Column("dtype", ("", "dtype")),
    Column("seed", ("", "seed")),
]


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of an exported model. A model of numbers has no tokenizer."""

    model: str
    tokenizer: str
    about: str


def listing(summary: Summary, study: str) -> pa.Table:
    """One row for each trial that has ended, with the lowest `best_validation_loss` first.

    Raises:
        InputError: there is no such study.
    """
    query.asked(summary, study)
    rows = query.latest(query.trials(summary, study))
    return rows.sort_by([("best_validation_loss", "ascending"), ("trial_id", "ascending")])


def files_of(output: str, *, force: bool) -> ModelFiles:
    """The files that an export to `output` writes.

    Raises:
        InputError: `output` does not end in `.keras`, or a file exists already and `force` is false.
    """
    if Path(output).suffix != ".keras":
        raise InputError(f"-o {output} must end in .keras, by which Keras knows the format: for example -o model.keras")
    stem = output.removesuffix(".keras")
    files = ModelFiles(model=output, tokenizer=f"{stem}.tokenizer.json", about=f"{stem}.json")
    for file in (files.model, files.tokenizer, files.about):
        if os.path.lexists(file) and not force:
            raise InputError(f"{file} exists already: choose another name with -o, or --force to replace it")
    return files


def export(found: FoundTrial, files: ModelFiles, *, at: str, factory: str | None = None) -> list[str]:
    """Write a trial's model as it was `at` one of MOMENTS; each file is written whole or not at all, the model last.

    `factory` is the one that the user agrees to run.

    Returns:
        Sentences on what could not be verified.

    Raises:
        InputError: the trial kept no such weights, they do not fit the model, its factory is not agreed to, or a file
            cannot be written.
        NotReadyError: a store cannot be read.
    """
    remarks: list[str] = []
    tokenizer = tokenizer_of(found)
    model = _file_of(model_of(found, at=at, factory=factory, note=remarks.append))
    if tokenizer is not None:
        save(tokenizer, files.tokenizer)
    # Non-ASCII is escaped, so that the reader's default encoding does not matter.
    save((json.dumps(_about(found, at), indent=2) + "\n").encode(), files.about)
    save(model, files.model)
    return remarks


def model_of(found: FoundTrial, *, at: str, factory: str | None, note: Callable[[str], None]) -> Any:
    """A trial's Keras model as it was `at` one of MOMENTS; `note` is called with what could not be verified.

    Raises:
        InputError: as for `export`, or `at` is no such moment.
        NotReadyError: a store cannot be read.
    """
    if at not in MOMENTS:
        raise InputError(f"at={at!r}{nearest(at, list(MOMENTS))}: one of {', '.join(MOMENTS)}")
    if found.trial.model.factory is not None:
        file_of(found.trial.model.factory, agreed=factory)
    if not found.manifest.verified:
        note("the label names are unverified, since an older version prepared the data")
    weights = None if at == INITIAL else _weights(found, at, note)
    plain = plain_model(found.trial, found.manifest)
    if weights is not None:
        _check_fit([weight.shape for weight in plain.get_weights()], [weight.shape for weight in weights], found)
        plain.set_weights(weights)
    return plain


def _weights(found: FoundTrial, at: str, note: Callable[[str], None]) -> Arrays:
    """The weights that a trial kept at its end; `note` is called with what is damaged or unverified."""
    trial_id, state = found.trial.trial_id, found.state
    instead = "another trial, or --at initial for the untrained model"
    if state is None:
        raise InputError(
            f"trial {trial_id} has no result yet (it is waiting or running): wait until `batchscope run` has ended, or "
            f"export {instead}"
        )
    if state not in KEPT:
        why = f" ({found.error})" if found.error else ""
        again = "run the study again, which resumes it, or " if state in (CANCELLED, LOST, FAILED) else ""
        raise InputError(f"trial {trial_id} ended {state}{why} and kept no weights: {again}export {instead}")
    for place in found.checkpoints:
        weights = Checkpoints(store_of(place), trial_id).weights(at, note)
        if weights is not None:
            return weights
    raise InputError(
        f"the weights of trial {trial_id} are missing or damaged: there is no complete {at}.npz in "
        f"{' or '.join(found.checkpoints)}; copy them there again, or export {instead}"
    )


def tokenizer_of(found: FoundTrial) -> bytes | None:
    """The tokenizer of the data set, verified against the manifest; numbers have none."""
    if found.manifest.kind != TOKENS:
        return None
    if not found.manifest.tokenizer_sha256:
        raise InputError(f"{found.data}/manifest.json names no tokenizer: give a complete copy of the data with --data")
    try:
        return read_tokenizer(store_of(found.data), found.manifest)
    except DataError as problem:
        raise DataError(f"{problem}; or give a complete copy of the data set with --data") from None


def _file_of(model: Any) -> bytes:
    """The bytes of a model's `.keras` file."""
    with tempfile.TemporaryDirectory(prefix="batchscope-export-") as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        return file.read_bytes()


def _check_fit(wanted: list[tuple[int, ...]], kept: list[tuple[int, ...]], found: FoundTrial) -> None:
    if wanted == kept:
        return
    factory = found.trial.model.factory
    remedy = f"{factory} has changed since: restore it" if factory else "use the version of batchscope that trained it"
    raise InputError(
        f"the weights of trial {found.trial.trial_id} have the shapes {kept}, but its model takes {wanted}: {remedy}"
    )


def _about(found: FoundTrial, at: str) -> dict[str, Any]:
    trial, inputs = found.trial, found.manifest.inputs
    numbers = {"kind": inputs.kind, "features_width": inputs.width, "padding": inputs.padding}
    return {
        "study": found.study,
        "trial_id": trial.trial_id,
        "state": found.state,
        "at": at,
        "task": trial.task,
        "label_names": list(found.manifest.label_names),
        "max_tokens": found.manifest.max_tokens,
        "global_batch": trial.global_batch,
        "learning_rate": trial.learning_rate,
        "optimizer": trial.optimizer,
        "dtype": trial.dtype,
        "seed": trial.seed,
    } | ({} if inputs.kind == TOKENS else numbers)

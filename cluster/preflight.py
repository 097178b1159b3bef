"""What can be known of a study before anything is started: its data, its trials, its layout, its model."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.machines import Capacity
from cluster.quiet import import_tensorflow
from cluster.stores import store_of
from cluster.study import axes, placement, protocol
from cluster.study.spec import StudySpec
from trainer import manifest as prepared
from trainer.errors import InputError
from trainer.inputs import SEQUENCES, TOKENS
from trainer.manifest import LANGUAGE_MODEL, SPLITS, Manifest
from trainer.store import Folder, Store
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study that can run: its data are there, its lanes fit, and `trials`, the grid of its axes, is known."""

    spec: StudySpec
    manifest: Manifest
    trials: tuple[TrialSpec, ...]
    placed: placement.Placement
    capacity: Capacity

    def plan(self, losses: Mapping[str, float]) -> protocol.Plan:
        """The trials it wants, given the losses so far, by trial_id."""
        return protocol.wanted(self.trials, self.spec.protocol, losses, target_after=self.spec.target_after)

    def expected(self) -> tuple[TrialSpec, ...]:
        """Trials as many and as long as it wants, as far as can be known before it runs."""
        return protocol.expected(self.trials, self.spec.protocol)

    @property
    def workers(self) -> dict[int, int]:
        """The workers for each global batch."""
        return {trial.global_batch: self.spec.resources.workers_at(trial.global_batch) for trial in self.trials}

    @property
    def micro_batches(self) -> dict[int, int]:
        """The rows of a micro-batch for each global batch."""
        batches = {trial.global_batch for trial in self.trials}
        return {batch: placement.micro_batch_rows(self.spec.resources, batch) for batch in batches}

    @property
    def memory_bytes(self) -> int | None:
        """The memory of a worker; None for what the machine has."""
        gib = self.spec.resources.memory_gib
        return None if gib is None else int(gib * 2**30)


def examine(spec: StudySpec, capacity: Capacity) -> Study:
    """The study of `spec` on machines of `capacity`.

    Raises:
        InputError: it cannot work: data, labels, batches, layout or model.
        NotReadyError: its data set cannot be read.
    """
    # Kept in the summary: whoever asks later stands in another folder.
    data = store_of(spec.data)
    spec = spec.model_copy(update={"data": data.uri, "summary": store_of(spec.summary).uri})
    manifest = prepared.read(data)
    _check_task(spec, manifest)
    trials = axes.trials(spec, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    planned = protocol.expected(trials, spec.protocol)
    placed = placement.place(spec.resources, planned, cpus=capacity.cpus, gpus=capacity.gpus, where=capacity.where)
    study = Study(spec=spec, manifest=manifest, trials=trials, placed=placed, capacity=capacity)
    if isinstance(data, Folder):
        _check_shards(spec, manifest)
    else:
        _check_listed(data, manifest)
    if trials[0].model.factory is not None or manifest.kind != TOKENS:
        _check_model(study.trials[0], manifest)
    return study


def _check_task(spec: StudySpec, manifest: Manifest) -> None:
    """A language model needs text with something to predict, and no labels; any other task needs its own."""
    if spec.task != LANGUAGE_MODEL:
        if manifest.task != spec.task:
            raise InputError(f"{spec.data} was prepared for {manifest.task}, but the study says task: {spec.task}")
        return
    if manifest.kind != TOKENS:
        raise InputError(
            f"{spec.data} has {manifest.kind} of numbers, but a {LANGUAGE_MODEL} learns text: prepare text"
        )
    for name in SPLITS:
        split = manifest.splits[name]
        # Prepared rows have at least one token, and a row of one has nothing to predict.
        if split.tokens <= split.rows:
            raise InputError(
                f"the {name} split of {spec.data} has no row of two tokens, so there is no next token to predict: "
                "prepare longer texts, or with a larger --max-tokens"
            )


def _check_shards(spec: StudySpec, manifest: Manifest) -> None:
    """Every shard is there, is the one the manifest speaks of, and has the columns that are read."""
    import pyarrow as pa
    from pyarrow import parquet

    from trainer.shards import verify

    expected = {manifest.inputs.column: pa.list_(pa.type_for_alias(manifest.token_dtype))}
    if manifest.kind == SEQUENCES:
        expected = {name: pa.list_(kind) for name, kind in expected.items()}
    if manifest.label_dtype:
        expected["label"] = pa.type_for_alias(manifest.label_dtype)
    for split in SPLITS:
        for shard in manifest.splits[split].shards:
            file = Path(spec.data) / shard.file
            verify(file, shard, where=str(file))
            schema = parquet.read_schema(str(file))
            for name, kind in expected.items():
                found = schema.field(name).type if name in schema.names else "missing"
                if found != kind:
                    raise InputError(
                        f"column {name!r} of {spec.data}/{shard.file} is {found}, not {kind}: "
                        "prepare the data again with `batchscope prepare`"
                    )


def _check_listed(data: Store, manifest: Manifest) -> None:
    """Every shard is listed with the manifest's size. Its content is verified by the workers that fetch it."""
    found = data.sizes()
    remedy = "copy the data set again, or prepare it again with `batchscope prepare`"
    for split in SPLITS:
        for shard in manifest.splits[split].shards:
            if shard.file not in found:
                raise InputError(f"{data.uri}/{shard.file} is missing: {remedy}")
            if found[shard.file] != shard.bytes:
                raise InputError(
                    f"{data.uri}/{shard.file} has {found[shard.file]} bytes, "
                    f"but the manifest says {shard.bytes}: {remedy}"
                )


def _check_model(trial: TrialSpec, manifest: Manifest) -> None:
    """Build the model once: a wrong one is found here and not in every lane."""
    import_tensorflow()
    # As for `python -m`: a module beside the study is found. Ray gives its workers the same path.
    sys.path.insert(0, os.getcwd())
    from trainer import model

    plain = model.build(
        trial.model,
        vocabulary_size=manifest.vocabulary_size,
        outputs=model.outputs_of(trial.task, manifest),
        task=trial.task,
        dtype=trial.dtype,
        seed=trial.seed,
        inputs=manifest.inputs,
    )
    model.training_twin(plain)

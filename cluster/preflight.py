"""What can be known of a study before anything is started: its data, its trials, its layout, its model."""

import os
import sys
from dataclasses import dataclass

from cluster.quiet import import_tensorflow
from cluster.study import axes, placement
from cluster.study.spec import StudySpec
from trainer import manifest as prepared
from trainer.errors import InputError
from trainer.manifest import SPLITS, Manifest
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study that can run: its data are there, its trials are known, and its lanes fit."""

    spec: StudySpec
    manifest: Manifest
    trials: tuple[TrialSpec, ...]
    placed: placement.Placement

    @property
    def micro_batches(self) -> dict[int, int]:
        """The rows of a micro-batch for each global batch."""
        batches = {trial.global_batch for trial in self.trials}
        return {batch: placement.micro_batch_rows(self.spec.resources, batch) for batch in batches}


def examine(spec: StudySpec) -> Study:
    """The study of `spec` on this machine.

    Raises:
        InputError: it cannot work: data, labels, batches, layout or model.
    """
    # Kept in the summary: whoever asks later stands in another folder.
    spec = spec.model_copy(update={"data": _absolute(spec.data), "summary": _absolute(spec.summary)})
    if "://" in spec.data:
        raise InputError(f"data {spec.data} is not a folder: copy the prepared data set to this machine")
    manifest = prepared.read(spec.data)
    if manifest.task != spec.task:
        raise InputError(f"{spec.data} was prepared for {manifest.task}, but the study says task: {spec.task}")
    trials = axes.trials(spec, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    placed = placement.place(spec.resources, trials, cpus=machine_cpus(), gpus=_machine_gpus(spec))
    study = Study(spec=spec, manifest=manifest, trials=trials, placed=placed)
    _check_shards(spec, manifest)
    if trials[0].model.factory is not None:
        _check_factory(study.trials[0], manifest)
    return study


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(os.path.expanduser(place))


def machine_cpus() -> float:
    """The CPUs that this process may use."""
    return float(len(os.sched_getaffinity(0)))


def _machine_gpus(spec: StudySpec) -> float:
    if not spec.resources.gpus_per_worker:
        return 0.0
    from ray._private.accelerators import NvidiaGPUAcceleratorManager

    return float(NvidiaGPUAcceleratorManager.get_current_node_num_accelerators())


def _check_shards(spec: StudySpec, manifest: Manifest) -> None:
    """Every shard is there, is the one the manifest speaks of, and has the columns that are read."""
    import pyarrow as pa
    from pyarrow import parquet

    from trainer.shards import verify

    expected = {
        "tokens": pa.list_(pa.type_for_alias(manifest.token_dtype)),
        "label": pa.type_for_alias(manifest.label_dtype),
    }
    for split in SPLITS:
        for shard in manifest.splits[split].shards:
            verify(spec.data, shard)
            schema = parquet.read_schema(os.path.join(spec.data, shard.file))
            for name, kind in expected.items():
                found = schema.field(name).type if name in schema.names else "missing"
                if found != kind:
                    raise InputError(
                        f"column {name!r} of {spec.data}/{shard.file} is {found}, not {kind}: "
                        "prepare the data again with `batchscope prepare`"
                    )


def _check_factory(trial: TrialSpec, manifest: Manifest) -> None:
    """Build the user's model once: a wrong one is found here and not in every lane."""
    import_tensorflow()
    # As for `python -m`: a module beside the study is found. Ray gives its workers the same path.
    sys.path.insert(0, os.getcwd())
    from trainer import model

    plain = model.build(
        trial.model,
        vocabulary_size=manifest.vocabulary_size,
        outputs=max(1, len(manifest.label_names)),
        task=trial.task,
        dtype=trial.dtype,
        seed=trial.seed,
    )
    model.training_twin(plain)

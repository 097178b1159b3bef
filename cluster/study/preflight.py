"""Examines a study before anything is started: its data, its trials, its layout and its model."""

from cluster.stores import store_of
from cluster.study import axes, fitting, head, memory, placement, protocol
from cluster.study.building import training_twin_of
from cluster.study.capacity import Capacity
from cluster.study.data import check_shards, read_data
from cluster.study.spec import StudySpec
from cluster.study.study import Study, sizes_of
from trainer.data.inputs import TOKENS


def examine(spec: StudySpec, capacity: Capacity) -> Study:
    """The study of `spec` on machines of `capacity`.

    Raises:
        InputError: the study cannot work, because of its data, labels, batches, layout or model.
        NotReadyError: the data set cannot be read.
    """
    # The address is absolute because the summary keeps it, and later readers may be in another folder.
    data = store_of(spec.data)
    spec = spec.model_copy(update={"data": data.uri, "summary": store_of(spec.summary).uri})
    manifest = read_data(data, spec)
    trials = axes.trials(spec, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    planned = protocol.expected(trials, spec.protocol)
    placed = placement.place(
        spec.resources,
        planned,
        cpus=capacity.cpus,
        gpus=capacity.gpus,
        where=capacity.where,
        carried=None if capacity.head_bytes is None else head.lanes_carried(capacity.head_bytes),
    )
    study = Study(spec=spec, manifest=manifest, trials=trials, placed=placed, capacity=capacity)
    fitting.refuse_what_cannot_fit(study, lambda trial: memory.guess(trial, **sizes_of(trial, manifest)))
    check_shards(data, manifest)
    if trials[0].model.factory is not None or manifest.kind != TOKENS:
        # This finds a wrong model here instead of in every lane.
        training_twin_of(trials[0], manifest)
    return study

"""What can be known of a study before anything is started: its data, its trials, its layout, its model."""

from pathlib import Path

from cluster.stores import store_of
from cluster.study import axes, fitting, memory, placement, protocol
from cluster.study.building import plain_model
from cluster.study.capacity import Capacity
from cluster.study.spec import StudySpec
from cluster.study.study import Study, sizes_of
from trainer.data import manifest as prepared
from trainer.data.custody import read_tokenizer
from trainer.data.inputs import SEQUENCES, TOKENS
from trainer.data.manifest import COPY_AGAIN, LANGUAGE_MODEL, SPLITS, Manifest
from trainer.data.store import Folder, Store
from trainer.errors import DataError, InputError
from trainer.trial import TrialSpec


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
    read_tokenizer(data, manifest)
    _check_task(spec, manifest)
    trials = axes.trials(spec, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    planned = protocol.expected(trials, spec.protocol)
    placed = placement.place(spec.resources, planned, cpus=capacity.cpus, gpus=capacity.gpus, where=capacity.where)
    study = Study(spec=spec, manifest=manifest, trials=trials, placed=placed, capacity=capacity)
    refuse_what_cannot_fit(study, lambda trial: memory.guess(trial, **sizes_of(trial, manifest)))
    if isinstance(data, Folder):
        _check_shards(spec, manifest)
    else:
        _check_listed(data, manifest)
    if trials[0].model.factory is not None or manifest.kind != TOKENS:
        _check_model(study.trials[0], manifest)
    return study


def refuse_what_cannot_fit(study: Study, model_of: fitting.ModelOf) -> None:
    """What a worker's memory cannot hold is refused, in the same words for whoever asks.

    Raises:
        InputError: a trial cannot fit.
    """
    limit = _limit(study)
    if limit is None:
        return
    batches = study.micro_batches
    if study.spec.resources.micro_batch == "auto":
        # It shrinks as far as it must.
        batches = dict.fromkeys(batches, 1)
    fitting.check(study.trials, batches, model_of, limit, length=study.manifest.longest)


def _limit(study: Study) -> fitting.Limit | None:
    """A worker's memory; None where it is not known, as that of a GPU or of a cluster's machines."""
    resources, placed = study.spec.resources, study.placed
    if resources.memory_gib is not None:
        said = f"resources.memory_gib is {resources.memory_gib:g}"
        return fitting.Limit(resources.memory_gib * fitting.GIB, said, "set resources.memory_gib: {gib}")
    if study.capacity.memory_bytes is None or resources.gpus_per_worker:
        return None
    workers = placed.lanes * placed.workers
    said = f"this machine has {study.capacity.memory_bytes / fitting.GIB:.1f} GiB"
    fewer = "set resources.lanes: 1" if placed.lanes > 1 else "use a machine with more memory"
    each = f" for {workers} workers at once" if workers > 1 else ""
    return fitting.Limit(study.capacity.memory_bytes / workers, said + each, fewer)


def _check_task(spec: StudySpec, manifest: Manifest) -> None:
    """A language model needs text with something to predict, and no labels; any other task needs its own.

    What stands after the end of a sequence of vectors is the least float32, which half precision does not hold.
    """
    half = [dtype for dtype in spec.axes.dtype if dtype.endswith("float16")]
    if half and manifest.kind == SEQUENCES:
        raise InputError(
            f"axes.dtype has {half[0]}, in which the padding of sequences of vectors, as in {spec.data}, is infinite: "
            "use float32"
        )
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

    from trainer.data.shards import schema_of, verify

    expected = {manifest.inputs.column: pa.list_(pa.type_for_alias(manifest.token_dtype))}
    if manifest.kind == SEQUENCES:
        expected = {name: pa.list_(kind) for name, kind in expected.items()}
    if manifest.label_dtype:
        expected["label"] = pa.type_for_alias(manifest.label_dtype)
    for split in SPLITS:
        for shard in manifest.splits[split].shards:
            file = Path(spec.data) / shard.file
            verify(file, shard, where=str(file))
            schema = schema_of(file, where=str(file))
            for name, kind in expected.items():
                found = schema.field(name).type if name in schema.names else "missing"
                if found != kind:
                    raise DataError(
                        f"column {name!r} of {spec.data}/{shard.file} is {found}, not {kind}: "
                        "prepare the data again with `batchscope prepare`"
                    )


def _check_listed(data: Store, manifest: Manifest) -> None:
    """Every shard is listed with the manifest's size. Its content is verified by the workers that fetch it."""
    found = data.sizes()
    for split in SPLITS:
        for shard in manifest.splits[split].shards:
            if shard.file not in found:
                raise DataError(f"{data.uri}/{shard.file} is missing: {COPY_AGAIN}")
            if found[shard.file] != shard.bytes:
                raise DataError(
                    f"{data.uri}/{shard.file} has {found[shard.file]} bytes, "
                    f"but the manifest says {shard.bytes}: {COPY_AGAIN}"
                )


def _check_model(trial: TrialSpec, manifest: Manifest) -> None:
    """Build the model once: a wrong one is found here and not in every lane."""
    plain = plain_model(trial, manifest)
    from trainer.model import model

    model.training_twin(plain)

"""The prepared data of a study: read, and checked against the study's needs before anything is started."""

from pathlib import Path

from cluster.study.spec import StudySpec
from trainer.data import manifest as prepared
from trainer.data.custody import read_tokenizer
from trainer.data.inputs import SEQUENCES, TOKENS
from trainer.data.manifest import COPY_AGAIN, LANGUAGE_MODEL, SPLITS, Manifest
from trainer.data.store import Folder, Store
from trainer.errors import DataError, InputError


def read_data(data: Store, spec: StudySpec) -> Manifest:
    """The manifest of the data set, once its tokenizer is verified and it suits the study's task.

    Raises:
        InputError: the data set was prepared for another task, or has nothing to predict.
        DataError: the data set is damaged.
        NotReadyError: the data set cannot be read.
    """
    manifest = prepared.read(data)
    read_tokenizer(data, manifest)
    check_task(spec, manifest)
    return manifest


def check_task(spec: StudySpec, manifest: Manifest) -> None:
    """Check that the data suit the task: a language model needs text to predict, any other task data prepared for it.

    Sequences of vectors are padded with the least float32, which half precision cannot represent.
    """
    half = [dtype for dtype in spec.axes.dtype if dtype.endswith("float16")]
    if half and manifest.kind == SEQUENCES:
        raise InputError(
            f"axes.dtype has {half[0]}, in which the padding of sequences of vectors, as in {spec.data}, is infinite: "
            "use float32"
        )
    if spec.task != LANGUAGE_MODEL:
        if manifest.task != spec.task:
            raise InputError(f"{spec.data} was prepared for {manifest.task}, but the study has task: {spec.task}")
        return
    if manifest.kind != TOKENS:
        raise InputError(
            f"{spec.data} has {manifest.kind} of numbers, but a {LANGUAGE_MODEL} learns text: prepare text"
        )
    for name in SPLITS:
        split = manifest.splits[name]
        # Prepared rows have at least one token, and a row of one token has nothing to predict.
        if split.tokens <= split.rows:
            raise InputError(
                f"the {name} split of {spec.data} has no row of two tokens, so there is no next token to predict: "
                "prepare longer texts, or with a larger --max-tokens"
            )


def check_shards(data: Store, manifest: Manifest) -> None:
    """Check that every shard exists and matches the manifest.

    Raises:
        DataError: a shard is missing, damaged or a different file.
    """
    if isinstance(data, Folder):
        _check_files(data, manifest)
    else:
        _check_listed(data, manifest)


def _check_files(data: Folder, manifest: Manifest) -> None:
    """Check that every shard exists, is the manifest's, and has the columns that are read."""
    import pyarrow as pa

    from trainer.data.shards import schema_of, verify

    expected = {manifest.inputs.column: pa.list_(pa.type_for_alias(manifest.token_dtype))}
    if manifest.kind == SEQUENCES:
        expected = {name: pa.list_(kind) for name, kind in expected.items()}
    if manifest.label_dtype:
        expected["label"] = pa.type_for_alias(manifest.label_dtype)
    for split in SPLITS:
        for shard in manifest.splits[split].shards:
            file = Path(data.uri) / shard.file
            verify(file, shard, where=str(file))
            schema = schema_of(file, where=str(file))
            for name, kind in expected.items():
                found = schema.field(name).type if name in schema.names else "missing"
                if found != kind:
                    raise DataError(
                        f"column {name!r} of {data.uri}/{shard.file} is {found}, not {kind}: "
                        "prepare the data again with `batchscope prepare`"
                    )


def _check_listed(data: Store, manifest: Manifest) -> None:
    """Check that every shard is listed with the manifest's size. The workers that fetch a shard verify its content."""
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

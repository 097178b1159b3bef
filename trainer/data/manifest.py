"""The `manifest.json` of a prepared data set: its splits, shards, vocabulary, labels and one `data_hash`.

`cluster.prepare` writes it, everything else reads it. A prepared data set is a folder (or S3 prefix) with
`manifest.json`, `tokenizer.json` and Parquet shards with the columns `row` int64, `tokens` list<uint16|uint32>
and `label` int32 (classification) or float32 (regression). Prepared for `language_model`, it has no `label`; prepared
from numbers instead of text, it has no tokenizer, and `features` list<float32> (or list of those) instead of `tokens`.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

from trainer.data.inputs import KINDS, TOKENS, Inputs
from trainer.data.store import Store
from trainer.errors import DataError
from trainer.fields import Fields, WrongFieldError, parsed, sha256_of
from trainer.trial import TASKS

SCHEMA_VERSION = 2
# In this version, no hash covers names, sizes and which shards belong to which split.
_UNVERIFIED_VERSION = 1
SPLITS = ("train", "validation", "test")
PADDING_ID = 0
UNKNOWN_ID = 1
# The task whose data need no labels.
LANGUAGE_MODEL = "language_model"
COPY_AGAIN = "copy the data set again, or prepare it again with `batchscope prepare`"
# The key of the hash of everything else in the file.
_SEAL = "sha256"
_SHA256 = "[0-9a-f]{64}"
_LABEL_DTYPES = {"classification": "int32", "regression": "float32", LANGUAGE_MODEL: ""}
# The number of ids that each token type can hold; numbers have no ids.
_IDS = {"uint16": 2**16, "uint32": 2**32, "float32": 0}
# Arrow's offsets, and so the tokens of a shard, are signed integers of 32 bits.
_MOST_OF_A_SHARD = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One Parquet file of a split. `sha256` is of the file's bytes, in hexadecimal."""

    file: str
    rows: int
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split.

    `label_counts` follows `label_names` (empty for regression); `length_histogram[i]` counts the rows whose tokens
    are in `[2**i, 2**(i+1))`; `length_percentiles` are the 50th, 90th and 99th. Lengths are after truncation;
    `truncated_rows` were longer. `unknown_tokens` counts the `tokens` that are not in the vocabulary. In a sequence of
    vectors each vector counts as a token, in a single vector each number. `repeated_rows` have the same tokens as a row
    of an earlier split and differ from it only in words outside the vocabulary. `digest` is the sha256 of the rows'
    content in their order (empty in the first version of the schema). `label_mean` and `label_variance` (of the whole
    split) are those of a regression's labels; None for other tasks, and for data prepared before these fields existed.
    """

    rows: int
    tokens: int
    label_counts: tuple[int, ...]
    length_histogram: tuple[int, ...]
    shards: tuple[Shard, ...]
    length_percentiles: tuple[int, ...] = ()
    truncated_rows: int = 0
    unknown_tokens: int = 0
    repeated_rows: int = 0
    digest: str = ""
    label_mean: float | None = None
    label_variance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole manifest. `identified` computes its `data_hash`.

    `group_by` is the column whose groups were each kept in one split (empty: duplicates only). `kind` and
    `features_width` are those of `trainer.data.inputs.Inputs`.
    """

    task: str
    token_dtype: str
    label_dtype: str
    vocabulary_size: int
    max_tokens: int
    label_names: tuple[str, ...]
    tokenizer_sha256: str
    splits: dict[str, Split]
    skipped_rows: int
    tool_version: str
    data_hash: str
    group_by: str = ""
    split_seed: int = 0
    schema_version: int = SCHEMA_VERSION
    kind: str = TOKENS
    features_width: int = 0

    @property
    def inputs(self) -> Inputs:
        """The model's input for a row."""
        return Inputs(self.kind, self.features_width)

    @property
    def longest(self) -> int:
        """An upper bound on the tokens of a row of the train split."""
        bins = len(self.splits["train"].length_histogram)
        return min(self.max_tokens, 2**bins - 1) if bins else self.max_tokens

    def outputs(self, task: str) -> int:
        """How many numbers a model of `task` returns for a row, or for each token of it: classes, next tokens, or 1."""
        return self.vocabulary_size if task == LANGUAGE_MODEL else max(1, len(self.label_names))

    @property
    def verified(self) -> bool:
        """Whether hashes cover all of it; in the first version of the schema, they cover only the shards' bytes."""
        return self.schema_version > _UNVERIFIED_VERSION

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        body = asdict(self)
        return json.dumps({**body, _SEAL: sha256_of(body)}, indent=2) + "\n"


def identified(manifest: Manifest) -> Manifest:
    """The manifest with its `data_hash`, which identifies the data set in every trial on it.

    The hash covers everything that decides numbers or names: the rows' content in order and by split, the types of rows
    and labels, the label names and the tokenizer. It does not cover the files' bytes: another pyarrow, another shard
    size or another input format gives the same hash. The manifest's own hash, also in the file, covers the shards.
    """
    names = ("task", "label_names", "token_dtype", "label_dtype", "vocabulary_size", "max_tokens", "tokenizer_sha256")
    of_split = ("digest", "rows", "tokens", "label_counts", "length_histogram")
    content = {name: getattr(manifest, name) for name in (*names, "kind", "features_width")}
    splits = {name: {key: getattr(split, key) for key in of_split} for name, split in manifest.splits.items()}
    return replace(manifest, data_hash=sha256_of({**content, "splits": splits}))


def parse(text: str, *, where: str) -> Manifest:
    """The manifest in `text`; `where` names it in errors.

    Raises:
        DataError: it is not a manifest, is damaged, or is one of a newer schema.
    """
    remedy = "prepare the data again with `batchscope prepare`"
    try:
        fields = parsed(text)
        version = fields.whole("schema_version", least=1)
    except ValueError:
        raise DataError(f"{where}/manifest.json is not a batchscope manifest: {remedy}") from None
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{where}/manifest.json has schema version {version}, newer than the {SCHEMA_VERSION} known here: "
            "upgrade batchscope, or " + remedy
        )
    try:
        return _manifest(fields, version)
    except WrongFieldError as problem:
        raise DataError(f"{where}/manifest.json is damaged ({problem}): {remedy}") from None


def _manifest(fields: Fields, version: int) -> Manifest:
    """The manifest in `fields`, with every value checked, and all of them against each other."""
    known = Manifest.__dataclass_fields__.keys() | ({_SEAL} if version > _UNVERIFIED_VERSION else set())
    fields.only(known)
    kind = fields.choice("kind", KINDS) if "kind" in fields else TOKENS
    task = fields.choice("task", TASKS)
    dtypes = ("uint16", "uint32") if kind == TOKENS else ("float32",)
    token_dtype = fields.choice("token_dtype", dtypes)
    of_splits = fields.object("splits")
    of_splits.only(SPLITS)
    manifest = Manifest(
        task=task,
        token_dtype=token_dtype,
        label_dtype=fields.choice("label_dtype", (_LABEL_DTYPES[task],)),
        vocabulary_size=fields.whole("vocabulary_size", most=_IDS[token_dtype]),
        max_tokens=fields.whole("max_tokens", least=1, most=_MOST_OF_A_SHARD),
        label_names=fields.texts("label_names"),
        tokenizer_sha256=fields.matching("tokenizer_sha256", f"|{_SHA256}", "a sha256 in hexadecimal"),
        splits={name: _split(of_splits.object(name), version) for name in SPLITS},
        skipped_rows=fields.whole("skipped_rows"),
        tool_version=fields.text("tool_version"),
        data_hash=fields.text("data_hash"),
        group_by=fields.text("group_by") if "group_by" in fields else "",
        split_seed=fields.whole("split_seed") if "split_seed" in fields else 0,
        schema_version=version,
        kind=kind,
        features_width=fields.whole("features_width", most=_MOST_OF_A_SHARD) if "features_width" in fields else 0,
    )
    _check_sums(manifest)
    if manifest.verified:
        _check_hashes(fields, manifest)
    return manifest


def _split(fields: Fields, version: int) -> Split:
    verified = version > _UNVERIFIED_VERSION
    fields.only(Split.__dataclass_fields__.keys() - (set() if verified else {"digest"}))
    return Split(
        rows=fields.whole("rows", least=1),
        tokens=fields.whole("tokens"),
        label_counts=fields.wholes("label_counts"),
        # One bin for each bit of a length.
        length_histogram=fields.wholes("length_histogram", at_most=_MOST_OF_A_SHARD.bit_length()),
        shards=tuple(_shard(shard) for shard in fields.objects("shards")),
        length_percentiles=fields.wholes("length_percentiles") if "length_percentiles" in fields else (),
        truncated_rows=fields.whole("truncated_rows") if "truncated_rows" in fields else 0,
        unknown_tokens=fields.whole("unknown_tokens") if "unknown_tokens" in fields else 0,
        repeated_rows=fields.whole("repeated_rows") if "repeated_rows" in fields else 0,
        label_mean=fields.number_or_none("label_mean") if "label_mean" in fields else None,
        label_variance=fields.number_or_none("label_variance") if "label_variance" in fields else None,
        digest=fields.matching("digest", _SHA256, "a sha256 in hexadecimal") if verified else "",
    )


def _shard(fields: Fields) -> Shard:
    fields.only(Shard.__dataclass_fields__.keys())
    return Shard(
        file=fields.matching("file", r"\w[\w.-]{0,199}", "the name of a file next to the manifest"),
        rows=fields.whole("rows", most=_MOST_OF_A_SHARD),
        tokens=fields.whole("tokens"),
        bytes=fields.whole("bytes"),
        sha256=fields.matching("sha256", _SHA256, "a sha256 in hexadecimal"),
    )


def _check_sums(manifest: Manifest) -> None:
    """Check that a split's rows, tokens and labels agree with those of its parts, and that no shard is listed twice."""
    files = [shard.file for split in manifest.splits.values() for shard in split.shards]
    if twice := sorted({file for file in files if files.count(file) > 1}):
        raise WrongFieldError(f"the shard {twice[0]} is listed twice")
    if (manifest.kind == TOKENS) != (manifest.features_width == 0):
        raise WrongFieldError(f"'features_width' is {manifest.features_width} for {manifest.kind}")
    for name, split in manifest.splits.items():
        sums = {
            "rows of its shards": (sum(shard.rows for shard in split.shards), split.rows),
            "tokens of its shards": (sum(shard.tokens for shard in split.shards), split.tokens),
            "rows in 'length_histogram'": (sum(split.length_histogram or [split.rows]), split.rows),
            "rows in 'label_counts'": (sum(split.label_counts or [split.rows]), split.rows),
            "entries of 'label_counts'": (len(split.label_counts or manifest.label_names), len(manifest.label_names)),
        }
        for what, (actual, wanted) in sums.items():
            if actual != wanted:
                raise WrongFieldError(f"the {what} are {actual} in the {name} split, not {wanted}")


def _check_hashes(fields: Fields, manifest: Manifest) -> None:
    """Check that its `data_hash` fits its content, and its own hash everything in the file."""
    expected = identified(manifest).data_hash
    if manifest.data_hash != expected:
        raise WrongFieldError(f"its names, sizes or splits have the data_hash {expected}, not the one that it states")
    body = {key: value for key, value in fields.values.items() if key != _SEAL}
    if fields.text(_SEAL) != sha256_of(body):
        raise WrongFieldError("it does not have the sha256 that it states: something in it was changed")


def read(data: Store) -> Manifest:
    """The manifest of the prepared data set at `data`.

    Raises:
        DataError: there are no prepared data, or the manifest is damaged or of a newer schema.
    """
    try:
        text = data.read("manifest.json")
    except FileNotFoundError:
        from_here = "" if "://" in data.uri else " (relative paths count from the current folder)"
        raise DataError(
            f"{data.uri} is not prepared data (it has no manifest.json): run `batchscope prepare` first{from_here}"
        ) from None
    return parse(text.decode("utf-8", errors="replace"), where=data.uri)


def sha256_of_file(path: str) -> str:
    """The hexadecimal sha256 of a local file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

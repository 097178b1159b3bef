"""What `manifest.json` of a prepared data set says: splits, shards, vocabulary, labels and one `data_hash`.

`cluster.prepare` writes it, everything else reads it. A prepared data set is a folder (or S3 prefix) with
`manifest.json`, `tokenizer.json` and Parquet shards with the columns `row` int64, `tokens` list<uint16|uint32>
and `label` int32 (classification) or float32 (regression). Prepared for `language_model` it has no `label`; of numbers
instead of text it has no tokenizer, and `features` list<float32> (or list of those) instead of `tokens`.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.errors import InputError
from trainer.inputs import TOKENS, Inputs
from trainer.store import Store

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
PADDING_ID = 0
UNKNOWN_ID = 1
# The task whose data need no labels.
LANGUAGE_MODEL = "language_model"


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
    `truncated_rows` were longer. `unknown_tokens` of the `tokens` are not in the vocabulary. Of a sequence of vectors
    each vector counts as a token, of one vector each number. `repeated_rows` have the tokens of a row of a split before
    this one, from which they differ in words outside the vocabulary.
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


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole manifest. `data_hash` is of the rows' content, not of the files: see `cluster.prepare.content`.

    `group_by` is the column whose groups were kept in one split (empty: duplicates only). `kind` and
    `features_width` are those of `trainer.inputs.Inputs`.
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
        """What a row is to the model."""
        return Inputs(self.kind, self.features_width)

    @property
    def longest(self) -> int:
        """No row of the train split has more tokens."""
        bins = len(self.splits["train"].length_histogram)
        return min(self.max_tokens, 2**bins - 1) if bins else self.max_tokens

    def baseline_loss(self) -> float | None:
        """The validation loss of a guess by the labels' frequencies in the train split, in nats; None without labels.

        None too where the validation split has a label that the train split lacks, which no frequency predicts.
        """
        known, asked = (np.array(self.splits[name].label_counts, np.float64) for name in ("train", "validation"))
        if not known.size or (known[asked > 0] == 0).any():
            return None
        seen = asked > 0
        return float(-(asked[seen] @ np.log(known[seen] / known.sum())) / asked.sum())

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"


def parse(text: str, *, where: str) -> Manifest:
    """The manifest in `text`; `where` names it in errors.

    Raises:
        InputError: it is not a manifest, or one of a newer schema.
    """
    remedy = "prepare the data again with `batchscope prepare`"
    try:
        fields: dict[str, Any] = json.loads(text)
        version = int(fields["schema_version"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{where}/manifest.json is not a batchscope manifest: {remedy}") from None
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{where}/manifest.json has schema version {version}, newer than the {SCHEMA_VERSION} known here: "
            "upgrade batchscope, or " + remedy
        )
    try:
        described = fields.pop("splits")
        splits = {name: _split(described[name]) for name in SPLITS}
        fields["label_names"] = tuple(fields["label_names"])
        return Manifest(splits=splits, **fields)
    except (KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{where}/manifest.json is damaged ({problem}): {remedy}") from None


def _split(value: dict[str, Any]) -> Split:
    return Split(
        rows=value["rows"],
        tokens=value["tokens"],
        label_counts=tuple(value["label_counts"]),
        length_histogram=tuple(value["length_histogram"]),
        shards=tuple(Shard(**shard) for shard in value["shards"]),
        length_percentiles=tuple(value.get("length_percentiles", ())),
        truncated_rows=value.get("truncated_rows", 0),
        unknown_tokens=value.get("unknown_tokens", 0),
        repeated_rows=value.get("repeated_rows", 0),
    )


def read(data: Store) -> Manifest:
    """The manifest of the prepared data set at `data`.

    Raises:
        InputError: there is no prepared data, or it is of a newer schema.
    """
    try:
        text = data.read("manifest.json")
    except FileNotFoundError:
        raise InputError(
            f"{data.uri} is not prepared data (it has no manifest.json): run `batchscope prepare` first"
        ) from None
    return parse(text.decode("utf-8", errors="replace"), where=data.uri)


def sha256_of_file(path: str) -> str:
    """The hexadecimal sha256 of a local file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

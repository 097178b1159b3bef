"""The open splits of a prepared data set: one that a trial trains on, and two on which its model is scored."""

from dataclasses import dataclass, replace
from itertools import accumulate

from trainer.data.custody import read_again
from trainer.data.manifest import SPLITS, Manifest, Split
from trainer.data.rows import Rows, open_rows
from trainer.data.store import Store


@dataclass(frozen=True)
class Data:
    """The open splits of the trial's data set."""

    train: Rows
    validation: Rows
    test: Rows


def open_data(store: Store, data_hash: str, *, first_rows: int | None = None) -> tuple[Manifest, Data]:
    """The manifest and the open splits of the data set in `store`, which must be the one of `data_hash`.

    With `first_rows`, each split has only the shards that hold its first `first_rows` rows.

    Raises:
        DataError: other data are there, or the data are damaged.
    """
    manifest = read_again(store, data_hash)
    splits = (_first(manifest.splits[name], first_rows) for name in SPLITS)
    return manifest, Data(*(open_rows(store, split, manifest.inputs) for split in splits))


def _first(split: Split, rows: int | None) -> Split:
    if rows is None:
        return split
    before = accumulate((shard.rows for shard in split.shards), initial=0)
    return replace(
        split, shards=tuple(shard for shard, start in zip(split.shards, before, strict=False) if start < rows)
    )

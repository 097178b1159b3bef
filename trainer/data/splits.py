"""The open splits of a prepared data set: what a trial trains on, and what its model is scored on."""

from dataclasses import dataclass

from trainer.data.custody import read_again
from trainer.data.manifest import SPLITS, Manifest
from trainer.data.rows import Rows, open_rows
from trainer.data.store import Store


@dataclass(frozen=True)
class Data:
    """The open splits of the trial's data set."""

    train: Rows
    validation: Rows
    test: Rows


def open_data(store: Store, data_hash: str) -> tuple[Manifest, Data]:
    """The manifest and the open splits of the data set in `store`, which must be the one of `data_hash`.

    Raises:
        DataError: other data are there, or what is there is damaged.
    """
    manifest = read_again(store, data_hash)
    return manifest, Data(*(open_rows(store, manifest.splits[name], manifest.inputs) for name in SPLITS))

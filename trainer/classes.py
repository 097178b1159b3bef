"""What a classifier takes for what: the rows of a split by their own class and by the predicted one, as exact counts.

The counts of the workers are summed with the other sums of an evaluation, so they are the same on any layout. Up to
CLASSES_CROSSED classes, all pairs are counted; up to CLASSES_COUNTED, each class by itself; beyond that nothing, since
a record must stay small beside the row of its trial.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
SCHEMA_VERSION = 1
CLASSES_CROSSED, CLASSES_COUNTED = 50, 1000


def is_recorded(task: str, classes: int) -> bool:
    """Whether a split of this many classes is counted."""
    return task == "classification" and classes <= CLASSES_COUNTED


def counts(labels: Any, predicted: Any, *, classes: int) -> Counts:
    """The counts of some rows in one array, which is summed over chunks and workers: for `record`, and for nobody else.

    Up to CLASSES_CROSSED classes it is the matrix of [own class, predicted class], row by row. Otherwise it has for
    each class the number of its rows, then how often each was predicted, then how often that was right.
    """
    own, found = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    if classes <= CLASSES_CROSSED:
        return np.bincount(own * classes + found, minlength=classes**2).astype(np.float64)
    parts = (own, found, own[own == found])
    return np.concatenate([np.bincount(part, minlength=classes) for part in parts]).astype(np.float64)


def record(counted: Counts, *, classes: int, split: str) -> str:
    """The summed counts as the JSON that a trial's row keeps."""
    whole = counted.astype(np.int64)
    if classes <= CLASSES_CROSSED:
        kept: dict[str, Any] = {"confusion": whole.reshape(classes, classes).tolist()}
    else:
        kept = dict(zip(("support", "predicted", "right"), whole.reshape(3, classes).tolist(), strict=True))
    return json.dumps({"schema_version": SCHEMA_VERSION, "split": split, **kept}, separators=(",", ":"))

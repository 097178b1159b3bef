"""The results of a cell by class: precision, recall, F1 and support on the test split, over all of its runs. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.classes import CLASSES_CROSSED, SCHEMA_VERSION

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """One class: its rows (`support`), how often it was predicted, and how often that was right."""

    support: int
    predicted: int
    right: int

    @property
    def precision(self) -> float | None:
        """The part of the predictions of the class that were right; None if it was never predicted."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """The part of the class's rows that were found; None if it has none."""
        return self.right / self.support if self.support else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; None if the class has no rows."""
        return 2 * self.right / (self.support + self.predicted) if self.support else None


@dataclass(frozen=True, kw_only=True)
class ByClass:
    """All classes, summed over `runs`; `crossed` has the rows by [own class, predicted class], if it is recorded."""

    runs: int
    classes: tuple[ClassResult, ...]
    crossed: tuple[tuple[int, ...], ...] | None

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that have rows: each counts the same, however rare it is."""
        known = [one.f1 for one in self.classes if one.f1 is not None]
        return float(np.mean(known)) if known else 0.0


def pooled(records: Iterable[str | None]) -> ByClass | None:
    """The sum of the records of some runs; None if none of them has one that can be read."""
    found = [counts for text in records if (counts := _counts(text)) is not None]
    if not found or len({counts.shape for counts in found}) > 1:
        return None
    total: Whole = np.sum(found, axis=0)
    # Three rows are those of more classes than are crossed, unless there are three classes.
    square = total.shape[0] == total.shape[1] <= CLASSES_CROSSED
    parts = (total.sum(1), total.sum(0), np.diag(total)) if square else tuple(total)
    return ByClass(
        runs=len(found),
        classes=tuple(
            ClassResult(support=int(own), predicted=int(told), right=int(right))
            for own, told, right in zip(*parts, strict=True)
        ),
        crossed=tuple(tuple(row) for row in total.tolist()) if square else None,
    )


def names(text: str | None, count: int) -> list[str]:
    """The names of the classes from a study's row, or their numbers where they are not known."""
    try:
        known = json.loads(text) if text else None
    except (ValueError, RecursionError):
        known = None
    if isinstance(known, list) and len(known) == count and all(isinstance(name, str) for name in known):
        return known
    return [f"class {number}" for number in range(count)]


def _counts(text: str | None) -> Whole | None:
    """The counts of one run, crossed or in three rows; None if the record is missing, or of another version."""
    try:
        record = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        return None
    rows: Any = record.get("confusion", [record.get(name) for name in ("support", "predicted", "right")])
    if not _is_table(rows) or (len(rows) != len(rows[0])) == ("confusion" in record):
        return None
    return np.array(rows, np.int64)


def _is_table(rows: Any) -> bool:
    """Whether it is a list of equally long lists of counts."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        return False
    return len({len(row) for row in rows}) == 1 and all(_is_count(one) for row in rows for one in row)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def most_confused(found: ByClass) -> Sequence[tuple[int, int, float]]:
    """The pairs of own and predicted class that are confused most, with the part of the own class's rows; at most 3."""
    if found.crossed is None:
        return []
    pairs = [
        (own, told, count / found.classes[own].support)
        for own, row in enumerate(found.crossed)
        for told, count in enumerate(row)
        if own != told and count
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:3]

"""The counts of each class: exact, additive over chunks and workers, and bounded."""

import json

import numpy as np
import pytest

from trainer import classes


@pytest.mark.parametrize("count", [3, classes.CLASSES_CROSSED, classes.CLASSES_CROSSED + 1, classes.CLASSES_COUNTED])
def test_the_counts_of_parts_add_up_to_those_of_the_whole(count: int) -> None:
    random = np.random.default_rng(0)
    own, found = random.integers(0, count, (2, 500)).astype(np.int32)
    found[::3] = own[::3]
    whole = classes.counts(own, found, classes=count)
    parts = sum(classes.counts(own[part::7], found[part::7], classes=count) for part in range(7))
    assert whole.tolist() == np.asarray(parts).tolist()
    record = json.loads(classes.record(whole, classes=count, split="test"))
    if "confusion" in record:
        crossed = np.array(record["confusion"])
        record |= {"support": crossed.sum(1), "predicted": crossed.sum(0), "right": np.diag(crossed)}
    assert list(record["support"]) == [int((own == one).sum()) for one in range(count)]
    assert list(record["predicted"]) == [int((found == one).sum()) for one in range(count)]
    assert list(record["right"]) == [int(((own == one) & (found == one)).sum()) for one in range(count)]


def test_pairs_are_kept_for_few_classes_each_class_for_more_and_nothing_beyond() -> None:
    def kept(count: int) -> set[str]:
        return set(json.loads(classes.record(classes.counts([], [], classes=count), classes=count, split="test")))

    assert kept(classes.CLASSES_CROSSED) == {"schema_version", "split", "confusion"}
    assert kept(classes.CLASSES_CROSSED + 1) == {"schema_version", "split", "support", "predicted", "right"}
    assert classes.is_recorded("classification", classes.CLASSES_COUNTED)
    assert not classes.is_recorded("classification", classes.CLASSES_COUNTED + 1)
    assert not classes.is_recorded("regression", 1)
    assert not classes.is_recorded("language_model", 40)


def test_a_row_of_class_one_taken_for_class_two_stands_in_row_one_and_column_two() -> None:
    record = json.loads(classes.record(classes.counts([1], [2], classes=3), classes=3, split="test"))
    assert record == {"schema_version": 1, "split": "test", "confusion": [[0, 0, 0], [0, 0, 1], [0, 0, 0]]}

"""Results by class: the textbook's figures from the sum of the runs' records, and nothing from what cannot be read."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.analysis.by_class import most_confused, names, pooled
from trainer import classes


def record(crossed: list[list[int]]) -> str:
    return json.dumps({"schema_version": 1, "split": "test", "confusion": crossed})


def test_precision_recall_and_f1_of_two_runs_together() -> None:
    found = pooled([record([[8, 2], [1, 9]]), record([[6, 4], [3, 7]])])
    assert found is not None
    assert found.runs == 2
    first, second = found.classes
    assert (first.support, first.predicted, first.right) == (20, 18, 14)
    assert first.recall == 14 / 20
    assert first.precision == 14 / 18
    assert first.f1 == pytest.approx(2 * (14 / 18) * (14 / 20) / (14 / 18 + 14 / 20))
    assert found.macro_f1 == pytest.approx(((first.f1 or 0) + (second.f1 or 0)) / 2)
    assert most_confused(found)[0] == (0, 1, 6 / 20)


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_pairs_and_lists_of_classes_give_the_same(count: int, seed: int) -> None:
    own, told = np.random.default_rng(seed).integers(0, count, (2, 200))
    found = pooled([classes.record(classes.counts(own, told, classes=count), classes=count, split="test")])
    assert found is not None
    assert [one.support for one in found.classes] == [int((own == one).sum()) for one in range(count)]
    assert [one.right for one in found.classes] == [int(((own == one) & (told == one)).sum()) for one in range(count)]
    assert (found.crossed is not None) == (count <= classes.CLASSES_CROSSED)


def test_a_class_that_never_comes_or_is_never_predicted_has_no_figure() -> None:
    found = pooled([record([[5, 0, 0], [3, 0, 0], [0, 0, 0]])])
    assert found is not None
    assert [one.precision for one in found.classes] == [5 / 8, None, None]
    assert [one.recall for one in found.classes] == [1.0, 0.0, None]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nothing",
        "[]",
        "[" * 100_000,
        '{"schema_version": 2, "confusion": [[1]]}',
        '{"schema_version": 1, "confusion": [[1, 2]]}',
        '{"schema_version": 1, "confusion": [[1, 2], [3]]}',
        '{"schema_version": 1, "confusion": [[-1, 2], [3, 4]]}',
        '{"schema_version": 1, "confusion": [["<b>", 2], [3, 4]]}',
        '{"schema_version": 1, "confusion": []}',
        '{"schema_version": 1}',
    ],
)
def test_a_record_that_cannot_be_read_counts_as_none(text: str | None) -> None:
    assert pooled([text]) is None


def test_names_are_those_of_the_study_or_numbers() -> None:
    assert names('["a", "b"]', 2) == ["a", "b"]
    for text in (None, "x", '["a"]', '{"a": 1}', '["a", 2]'):
        assert names(text, 2) == ["class 0", "class 1"]

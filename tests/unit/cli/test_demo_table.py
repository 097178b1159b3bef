"""`demo --table`: the rows it draws, and that its last line says only what its losses show."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from cluster.articles import iris
from cluster.cli.demo_table import PUBLISHED, TableRow, lines
from cluster.prepare import prepare


def test_the_train_split_is_fifty_of_each_class_and_as_published(tmp_path: Path) -> None:
    iris.write(tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert Counter(row["kind"] for row in rows) == {"setosa": 64, "versicolor": 64, "virginica": 63}
    for name, means, deviations in zip(iris.NAMES, iris.MEANS, iris.DEVIATIONS, strict=True):
        numbers = np.array([row["numbers"] for row in rows if row["kind"] == name])
        assert (np.abs(numbers.mean(0) - means) < 4 * np.array(deviations) / 8).all()
    manifest = prepare([str(tmp_path / "rows.jsonl")], str(tmp_path / "data"), features="numbers", label="kind")
    assert manifest.splits["train"].label_counts == (50, 50, 50)
    assert manifest.splits["train"].rows == iris.TRAIN_ROWS


def said(small: list[float], few: list[float], many: list[float]) -> str:
    arms = [TableRow(losses=dict(enumerate(losses)), seconds={0: 1.5}) for losses in (small, few, many)]
    return "\n".join(lines(dict(zip(PUBLISHED, arms, strict=True))))


def test_three_rows_and_the_ratio_of_the_same_seed() -> None:
    text = said([0.5, 0.6], [1.0, 1.1], [0.49, 0.6])
    assert "15 epochs of 16              16      150   0.550   0.071       0.56     1.50\n" in text
    assert "0.990 times the loss after as many updates (deviation 0.014 over 2 seeds), 1.92 times" in text
    assert text.endswith("updates, not batch size, made the difference.")


def test_no_verdict_that_the_losses_do_not_show() -> None:
    assert said([0.5, 0.6], [1.0, 1.1], [0.9, 0.6]).endswith("here updates alone do not explain the difference.")

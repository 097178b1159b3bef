"""An evaluation: each row of the split once, the same score however it is cut, and few shards open."""

import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import write_prepared
from tests.support import bodies
from tests.unit.trainer.test_rows import mapped_shards
from trainer import evaluate
from trainer.data.rows import Rows
from trainer.order import evaluation
from trainer.order.world import World
from trainer.trial import TrialSpec

pytestmark = pytest.mark.tf
ROWS = 200


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """A validation split of ten uneven shards, with a cache of its own."""
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "cache"))
    write_prepared(tmp_path / "data", train=20, held_out=ROWS, shards=10, seed=1)
    return bodies.open_data(str(tmp_path / "data")).validation  # type: ignore[no-any-return]


def chunks(rows: Rows) -> Iterator[np.ndarray]:
    return evaluation.chunks(rows.lengths, len(rows), task="classification")


def cut(monkeypatch: pytest.MonkeyPatch, *, run: int, chunk: int) -> None:
    monkeypatch.setattr(evaluation, "RUN_ROWS", run)
    monkeypatch.setattr(evaluation, "EVALUATION_ROWS", chunk)


@pytest.mark.parametrize(("run", "chunk"), [(1, 1), (7, 3), (64, 64), (64, 10), (ROWS, 9), (8192, 256)])
def test_the_chunks_are_each_row_once_within_its_run(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, run: int, chunk: int
) -> None:
    cut(monkeypatch, run=run, chunk=chunk)
    found = list(chunks(rows))
    assert sorted(np.concatenate(found).tolist()) == list(range(ROWS))
    for numbers in found:
        assert len(numbers) <= chunk
        assert len(set((numbers // run).tolist())) == 1


def test_a_chunk_has_rows_of_about_equal_length(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(monkeypatch, run=50, chunk=10)
    lengths = [rows.lengths(chunk) for chunk in chunks(rows)]
    for start in range(0, len(lengths), 5):
        run = np.concatenate(lengths[start : start + 5])
        assert run.tolist() == sorted(run.tolist())


def reader(seen: list[list[int]], world: World) -> Any:
    """In a learner's place: notes the tokens of each row, and gives no loss."""

    def noting(tokens: Any, labels: Any) -> tuple[float, float, float]:
        seen.extend(row[row > 0].tolist() for row in tokens)
        return 0.0, 0.0, float(len(labels))

    collective = types.SimpleNamespace(world=world, sum=lambda sums: sums)
    return types.SimpleNamespace(
        collective=collective, evaluate=noting, shape=types.SimpleNamespace(task="classification")
    )


def test_the_workers_share_the_chunks(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(monkeypatch, run=64, chunk=10)
    seen: list[list[int]] = []
    for rank in range(3):
        evaluate.score(reader(seen, World(rank, 3)), rows)
    assert sorted(seen) == sorted(row[row > 0].tolist() for row in rows.tokens(np.arange(ROWS)))


def test_the_score_is_the_same_in_runs_of_any_length(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, tiny_trial: Callable[..., TrialSpec]
) -> None:
    trial = tiny_trial(dtype="float64", seed=5)
    learner = bodies.open_learner(World(), trial)
    learner.start(trial)
    cut(monkeypatch, run=ROWS, chunk=9)
    whole = evaluate.score(learner, rows)
    for run in (1, 7, 64):
        cut(monkeypatch, run=run, chunk=9)
        found = evaluate.score(learner, rows)
        assert found.loss == pytest.approx(whole.loss, rel=1e-12)
        assert found.accuracy == whole.accuracy


def test_no_more_shards_are_open_than_a_run_has_rows_in(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    # The shortest shard is as long as a run, which then has rows in two shards at most.
    cut(monkeypatch, run=int(np.diff(rows.first).min()), chunk=3)
    evaluate.score(reader([], World()), rows)
    assert mapped_shards() == 2
    for chunk in chunks(rows):
        rows.tokens(chunk)
        assert mapped_shards() <= 2
    # Each chunk of a run over all shards has rows in any: they stay open.
    cut(monkeypatch, run=ROWS, chunk=3)
    evaluate.score(reader([], World()), rows)
    assert mapped_shards() == 10

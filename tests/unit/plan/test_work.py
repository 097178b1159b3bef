"""The arithmetic of a plan: updates, evaluations, splits, hints, and what is cut into which shapes."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.plan import work
from tests.conftest import hash_of, write_prepared
from trainer.data.splits import open_data
from trainer.data.store import Folder
from trainer.order import cuts, plan
from trainer.order.shapes import ROWS_MULTIPLE
from trainer.trial import Duration, ModelSpec, TrialSpec

BUDGETS = st.builds(
    Duration, unit=st.sampled_from(["epochs", "examples", "updates"]), amount=st.integers(1, 40).map(lambda n: n / 4)
)


def trial_of(global_batch: int, *, budget: Duration, every: Duration) -> TrialSpec:
    return TrialSpec(
        data_hash="d",
        task="classification",
        model=ModelSpec(),
        global_batch=global_batch,
        learning_rate=0.1,
        optimizer="sgd",
        dtype="float32",
        seed=0,
        budget=budget,
        evaluate_every=every,
    )


@given(batch=st.integers(1, 60), rows=st.integers(60, 200), budget=BUDGETS, every=BUDGETS)
def test_evaluations_are_as_many_as_fall_due_and_one_at_the_end(
    batch: int, rows: int, budget: Duration, every: Duration
) -> None:
    trial = trial_of(batch, budget=budget, every=every)
    updates = plan.total_updates(budget, global_batch=batch, rows=rows)
    assert updates is not None
    due = [
        plan.is_due(every, update=update, global_batch=batch, rows=rows) or update == updates
        for update in range(1, updates + 1)
    ]
    assert work.evaluations(trial, updates=updates, rows=rows, seconds_training=1.0) == sum(due)


@given(batch=st.integers(1, 5000), workers=st.integers(1, 9), micro_batch=st.integers(1, 300))
def test_a_split_is_the_whole_global_batch_in_parts_that_fit(batch: int, workers: int, micro_batch: int) -> None:
    shares = work.split(batch, workers=workers, micro_batch=micro_batch)
    assert len(shares) == workers
    assert sum(map(sum, shares)) == batch
    assert max((part for share in shares for part in share), default=0) <= micro_batch
    sums = [sum(share) for share in shares]
    assert max(sums) - min(sums) <= 1


@pytest.mark.parametrize(
    ("batch", "workers", "micro_batch", "text"),
    [
        (16, 1, 32, "16"),
        (51, 1, 32, "26+25"),
        (512, 1, 32, "16 x 32"),
        (52, 2, 32, "2 x (26)"),
        (51, 2, 32, "(26) + (25)"),
        (51, 2, 13, "(2 x 13) + (13+12)"),
        (102, 4, 13, "2 x (2 x 13) + 2 x (13+12)"),
        (2408, 1, 32, "76 x 31-32"),
        (3223, 2, 32, "2 x (51 x 31-32)"),
        (1, 2, 32, "(1) + (none)"),
    ],
)
def test_a_split_is_readable(batch: int, workers: int, micro_batch: int, text: str) -> None:
    assert work.said(work.split(batch, workers=workers, micro_batch=micro_batch)) == text


def test_a_size_that_few_worker_counts_divide_has_neighbours_that_many_do() -> None:
    assert work.easily_shared(17, at_most=1000) == [12, 24]
    assert work.easily_shared(51, at_most=1000) == [48, 60]
    assert work.easily_shared(51, at_most=55) == [48]
    assert work.easily_shared(48, at_most=1000) == []
    assert work.easily_shared(5, at_most=1000) == []


@given(size=st.integers(8, 2000))
def test_a_hint_names_only_what_more_worker_counts_divide(size: int) -> None:
    for other in work.easily_shared(size, at_most=4000):
        assert len(work.divides(other)) > len(work.divides(size))
        assert size / 2 <= other <= 2 * size


@pytest.mark.slow
@given(
    lengths=st.lists(st.integers(1, 300), min_size=20, max_size=60),
    batch=st.integers(1, 20),
    workers=st.integers(1, 3),
    micro_batch=st.integers(1, 20),
)
def test_the_cuts_of_an_update_are_those_of_its_largest_share(
    lengths: list[int], batch: int, workers: int, micro_batch: int
) -> None:
    trial = trial_of(batch, budget=Duration(unit="updates", amount=1), every=Duration(unit="epochs", amount=1))
    array = np.array(lengths)
    found = cuts.of_updates(trial, array, workers=workers, micro_batch=micro_batch, total=1)
    share = math.ceil(batch / workers)
    assert found.count <= math.ceil(share / micro_batch)
    assert found.tokens <= found.places <= share * 304
    assert found.places >= share // 2 * min(lengths)
    assert found.packed <= (share + found.count * ROWS_MULTIPLE) * max(lengths)


def test_an_evaluation_shared_by_two_workers_is_half_of_it_for_each() -> None:
    lengths = np.full(512, 40)
    alone = cuts.of_evaluation(lengths, task="classification", workers=1)
    assert (alone.count, alone.tokens, alone.places) == (2, 80, 512 * 40)
    assert cuts.of_evaluation(lengths, task="classification", workers=2).places == 256 * 40
    assert cuts.of_evaluation(lengths, task="language_model", workers=1).count == 16


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "strands"), [(1, 1), (5, 1), (16, 1), (31, 1), (32, 2), (33, 2), (256, 1)])
def test_the_shape_of_a_micro_batch_is_the_one_that_is_compiled(rows: int, strands: int) -> None:
    import tensorflow as tf

    from trainer.model.packing import pack

    lengths = np.random.default_rng(rows).integers(1, 200, rows)
    packing = pack(tf.constant(lengths, tf.int32), int(lengths.max()), strands)
    found = cuts.of_chunks([lengths], strands=strands)
    assert found.shapes == {(int(packing.rows), int(packing.room))}
    assert found.packed == len(packing.source_SP[0])


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.slow
def test_the_cuts_are_those_of_the_shares_that_are_read(workers: int, tmp_path: Path) -> None:
    from cluster.stores import store_of
    from trainer.data.rows import open_rows
    from trainer.data.share import shares_of
    from trainer.order.world import World

    manifest = write_prepared(tmp_path / "data", longest=40)
    rows = open_rows(store_of(str(tmp_path / "data")), manifest.splits["train"])
    trial = trial_of(17, budget=Duration(unit="updates", amount=1), every=Duration(unit="epochs", amount=1))
    found = cuts.of_updates(trial, rows.lengths(np.arange(len(rows))), workers=workers, micro_batch=4, total=1)
    shares = [next(shares_of(trial, rows, World(rank, workers), 4, 0)) for rank in range(workers)]
    read = [[np.count_nonzero(one.tokens, axis=1) for one in share.micro_batches] for share in shares]
    assert found.packed == max(cuts.of_chunks(chunks).packed for chunks in read)
    assert found.shapes == frozenset().union(*(cuts.of_chunks(chunks).shapes for chunks in read))
    assert found.places in [sum(one.tokens.shape[0] * one.tokens.shape[1] for one in s.micro_batches) for s in shares]


class Recorder:
    """A learner that notes the tokens of each row that it is given, and computes nothing."""

    def __init__(self) -> None:
        self.collective, self.shape = SimpleNamespace(world=SimpleNamespace(rank=0, workers=1)), None
        self.trained: list[np.ndarray] = []
        self.evaluated: list[np.ndarray] = []

    def start(self, trial: TrialSpec) -> None:
        self.shape = SimpleNamespace(task=trial.task)

    def add(self, micro_batch: Any) -> None:
        self.trained.append(np.count_nonzero(micro_batch.tokens, axis=1))

    add_measured = add

    def gradient(self, *, global_batch: int) -> tuple[float, list[np.ndarray]]:
        return 0.0, [np.ones(1)]

    def evaluate(self, tokens: np.ndarray, labels: np.ndarray) -> tuple[float]:
        self.evaluated.append(np.count_nonzero(tokens, axis=1))
        return (0.0,)


@pytest.mark.parametrize(("global_batch", "micro_batch"), [(1, 32), (17, 4), (64, 32), (128, 32)])
@pytest.mark.slow
def test_the_cuts_of_a_check_are_those_that_it_computes(global_batch: int, micro_batch: int, tmp_path: Path) -> None:
    from trainer.check import prove

    write_prepared(tmp_path / "data", train=200, longest=40)
    _, data = open_data(Folder(str(tmp_path / "data")), hash_of(tmp_path / "data"))
    trial = trial_of(global_batch, budget=Duration(unit="updates", amount=1), every=Duration(unit="epochs", amount=1))
    learner: Any = Recorder()
    prove(trial, learner, data, micro_batch=micro_batch)
    lengths = (rows.lengths(np.arange(len(rows))) for rows in (data.train, data.validation))
    assert cuts.of_proof(trial, *lengths, micro_batch=micro_batch) == (
        cuts.of_chunks(learner.trained),
        cuts.of_chunks(learner.evaluated),
    )

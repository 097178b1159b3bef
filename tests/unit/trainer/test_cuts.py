"""The cuts of an update, an evaluation and a proof, and the shapes of strands, against slow counts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trials import TINY
from trainer.order import cuts, evaluation, measuring, plan, shapes, share_cuts
from trainer.order.cuts import Cuts
from trainer.order.layouts import Layout, evaluated, layouts, pieces
from trainer.order.permutation import rows_at

LENGTHS = st.lists(st.integers(0, 70), min_size=1, max_size=90).map(lambda found: np.array(found, np.int64))


@pytest.mark.parametrize(("length", "tokens"), [(1, 8), (8, 8), (9, 16), (64, 64), (65, 72)])
def test_rows_are_padded_to_a_multiple(length: int, tokens: int) -> None:
    assert shapes.padded(length) == tokens


@pytest.mark.parametrize(
    ("rows", "computed"),
    [
        *((n, 4) for n in (1, 4)),
        (5, 8),
        (8, 8),
        (9, 16),
        (63, 64),
        (64, 64),
        (65, 80),
        (80, 80),
        (127, 128),
        (129, 160),
    ],
)
def test_strands_have_few_numbers_of_rows(rows: int, computed: int) -> None:
    assert shapes.strand_rows(rows) == computed


@given(rows=st.integers(1, 100_000))
def test_a_strand_is_computed_with_at_most_a_quarter_more_rows(rows: int) -> None:
    computed = shapes.strand_rows(rows)
    assert rows <= computed <= max(rows + 7, rows * 1.26)
    assert computed % shapes.ROWS_MULTIPLE == 0


@pytest.mark.parametrize(
    ("rows", "places", "room"),
    [(8, 1, 256), (8, 256, 256), (8, 257, 512), (8, 512, 512), (16, 513, 1024), (4, 600, 1024)],
)
def test_the_room_is_a_power_of_two_of_tokens(rows: int, places: int, room: int) -> None:
    assert shapes.room(rows, places) == room


@pytest.mark.parametrize(("number", "power"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048)])
def test_powers_of_two(number: int, power: int) -> None:
    assert shapes.power_of_two(number) == power


@pytest.mark.parametrize(
    ("rows", "of_phases"), [(4, [4, 4, 4, 4]), (8, [8, 8, 4, 4]), (32, [32, 24, 16, 8]), (40, [40, 32, 20, 12])]
)
def test_a_phase_has_a_quarter_of_the_rows_less(rows: int, of_phases: list[int]) -> None:
    assert shapes.widths(rows) == of_phases


@given(lengths=LENGTHS, strands=st.integers(1, 4))
def test_a_token_is_computed_in_the_narrowest_phase_that_has_all_rows(lengths: np.ndarray, strands: int) -> None:
    rows, places = shapes.packed(lengths, strands)
    # The longest strand has every so-many-th row of those in falling order.
    longest = sorted(lengths.tolist(), reverse=True)[::strands]
    assert rows == shapes.strand_rows(-(-len(lengths) // strands))
    count = 0
    for token in range(longest[0]):
        alive = sum(length > token for length in longest)
        count += min(width for width in shapes.widths(rows) if width >= alive)
    assert places == count


def test_chunks_are_counted_and_empty_ones_are_not() -> None:
    chunks = [np.array([3, 5]), np.array([], np.int64), np.array([9])]
    found = cuts.of_chunks(chunks)
    (rows, first), (_, second) = (shapes.packed(chunk, 1) for chunk in (chunks[0], chunks[2]))
    assert found == Cuts(
        count=2,
        tokens=5 + 9,
        places=2 * 8 + 16,
        packed=first + second,
        shapes=frozenset({(rows, shapes.room(rows, 9))}),
    )
    assert cuts.of_chunks(chunks, strands=2).packed == sum(shapes.packed(chunks[n], 2)[1] for n in (0, 2))
    assert cuts.of_chunks([]) == Cuts(count=0, tokens=0, places=0, packed=0)


def test_numbers_are_multiplied_and_shapes_are_not() -> None:
    one = Cuts(count=1, tokens=2, places=3, packed=4, shapes=frozenset({(8, 256)}))
    assert one.times(2.5) == Cuts(count=2.5, tokens=5, places=7.5, packed=10, shapes=frozenset({(8, 256)}))


def test_the_busiest_worker_counts_and_the_shapes_of_all() -> None:
    trial, lengths = replace(TINY, global_batch=10), np.full(10, 8)
    alone = cuts.of_updates(trial, lengths, workers=1, micro_batch=4, total=3)
    assert (alone.count, alone.tokens, alone.places) == (3, 24, 80)
    shared = cuts.of_updates(trial, lengths, workers=2, micro_batch=4, total=3)
    assert (shared.count, shared.tokens, shared.places) == (2, 16, 40)
    mixed = cuts.of_updates(trial, np.arange(1, 11) * 40, workers=2, micro_batch=4, total=1)
    one, other = (
        cuts.of_chunks([np.arange(1, 11)[chunk] * 40 for chunk in cut])
        for cut in (share_cuts.dealt(np.arange(1, 11) * 40, rank=rank, workers=2, micro_batch=4) for rank in range(2))
    )
    assert mixed.packed == max(one.packed, other.packed)


@given(total=st.integers(1, 99), batch=st.integers(1, 30), micro_batch=st.integers(1, 30), seed=st.integers(0, 9))
def test_an_update_costs_the_mean_of_those_looked_at(total: int, batch: int, micro_batch: int, seed: int) -> None:
    trial = replace(TINY, global_batch=batch, seed=seed)
    lengths = np.random.default_rng(seed).integers(1, 60, 40)
    found = cuts.of_updates(trial, lengths, workers=1, micro_batch=micro_batch, total=total, strands=2)
    every = []
    for update in range(total):
        rows = lengths[rows_at(plan.positions_of(update, batch), rows=40, seed=seed, window_rows=None)]
        chunks = [rows[chunk] for chunk in plan.micro_batches(rows, micro_batch=micro_batch)]
        every.append(cuts.of_chunks(chunks, strands=2))
    for name in ("count", "tokens", "places", "packed"):
        assert getattr(found, name) == pytest.approx(np.mean([getattr(one, name) for one in every]))
    assert found.shapes == frozenset().union(*(one.shapes for one in every))


@pytest.mark.parametrize(
    ("batch", "total", "looked_at"),
    [
        (1, 1, [0]),
        (10, 5, [0, 1, 2, 3, 4]),
        (100_000, 9, [0, 4, 8]),
        (50_000, 90, [0, 29, 59, 89]),
        (1, 10_001, np.linspace(0, 10_000, 200).astype(int).tolist()),
    ],
)
def test_few_updates_are_looked_at_over_the_whole_trial(
    batch: int, total: int, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def positions_of(update: int, global_batch: int) -> range:
        asked.append(update)
        assert global_batch == batch
        return range(3)

    monkeypatch.setattr(plan, "positions_of", positions_of)
    trial = replace(TINY, global_batch=batch)
    cuts.of_updates(trial, np.full(20, 8), workers=1, micro_batch=8, total=total)
    measured = [measuring.EVERY - 1] if total >= measuring.EVERY else []
    assert asked == [*looked_at, *measured]


@pytest.mark.parametrize(("total", "has"), [(99, False), (100, True)])
def test_a_measured_update_has_shapes_of_its_own(total: int, has: bool) -> None:
    # 64 rows are measured in eight parts of 8, or with two workers, each in parts of 8 of its half.
    trial = replace(TINY, global_batch=64)
    for workers in (1, 2):
        found = cuts.of_updates(trial, np.full(64, 200), workers=workers, micro_batch=32, total=total)
        assert (any(rows == 8 for rows, _ in found.shapes)) == has
        assert any(rows == 32 for rows, _ in found.shapes)


def test_windows_are_of_rows_and_those_larger_than_the_data_are_none() -> None:
    lengths = np.arange(1, 201)
    parts = []
    for window in (None, 10, 199, 200, 500):
        trial = replace(TINY, global_batch=5, window_rows=window)
        parts.append(cuts.of_updates(trial, lengths, workers=1, micro_batch=5, total=1))
    whole, small, nearly, equal, larger = parts
    assert whole == equal == larger
    assert len({part.tokens for part in (whole, small, nearly)}) == 3


def test_an_evaluation_is_shared_evenly() -> None:
    lengths = np.full(512, 16)
    alone = cuts.of_evaluation(lengths, task="classification", workers=1)
    assert (alone.count, alone.tokens, alone.places) == (2, 32, 512 * 16)
    assert cuts.of_evaluation(lengths, task="classification", workers=4) == alone.times(1 / 4)
    assert cuts.of_evaluation(lengths, task="language_model", workers=1).count == 16
    two = cuts.of_evaluation(lengths, task="classification", workers=1, strands=2)
    assert two.packed == alone.packed / 2


@pytest.mark.parametrize(("batch", "rows"), [(17, 17), (64, 64), (500, 64)])
def test_a_proof_has_every_layout_of_its_rows(batch: int, rows: int) -> None:
    trial, lengths = replace(TINY, global_batch=batch), np.random.default_rng(1).integers(1, 300, 600)
    held_out = np.random.default_rng(2).integers(1, 300, 100)
    training, evaluation = cuts.of_proof(trial, lengths, held_out, micro_batch=8, strands=1)
    found = lengths[rows_at(range(rows), rows=600, seed=trial.seed, window_rows=None)]
    whole = [found]
    in_eights = [found[chunk] for chunk in plan.micro_batches(found, micro_batch=8)]
    small = [found[start : start + 5] for start in range(0, rows, 5)]
    part = min(8, measuring.part_rows(batch))
    measured = [found[chunk] for chunk in plan.micro_batches(np.zeros(rows, np.int64), micro_batch=part)]
    assert training == cuts.of_chunks([*whole, *whole, *in_eights, *small, *in_eights, *measured])
    held = held_out[:64]
    assert evaluation == cuts.of_chunks([held, *(held[start : start + 7] for start in range(0, 64, 7))])
    assert cuts.of_proof(trial, lengths, held_out, micro_batch=8, strands=2)[1].packed < evaluation.packed


def test_the_layouts_of_a_proof() -> None:
    whole = Layout(micro_batch=20, piece=20)
    assert layouts(20, micro_batch=6) == (
        whole,
        whole,
        Layout(micro_batch=6, piece=20),
        Layout(micro_batch=5, piece=5),
        Layout(micro_batch=6, piece=20, shared=True),
        Layout(micro_batch=6, piece=20, shared=True, measured=True),
    )
    assert list(pieces(range(3, 14), 5)) == [range(3, 8), range(8, 13), range(13, 14)]
    assert evaluated(10) == [range(10), range(7), range(7, 10)]


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30), run=st.integers(1, 50))
def test_the_shards_that_a_run_of_an_evaluation_touches(sizes: list[int], run: int) -> None:
    first = np.array([0, *np.cumsum(sizes)])
    rows = int(first[-1])
    shard_of = np.repeat(np.arange(len(sizes)), sizes)
    most = max(len(set(shard_of[start : start + run])) for start in range(0, rows, run))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "RUN_ROWS", run)
        assert evaluation.shards_of_a_run(first) == max(2, most)


@pytest.mark.parametrize(
    ("task", "at_most", "rows"),
    [
        ("classification", None, 256),
        ("regression", None, 256),
        ("language_model", None, 32),
        ("classification", 40, 40),
        ("language_model", 40, 5),
        ("language_model", 3, 1),
    ],
)
def test_so_many_rows_are_evaluated_at_once(task: str, at_most: int | None, rows: int) -> None:
    assert evaluation.rows_at_once(task, at_most) == rows
    chunks = evaluation.chunks(lambda found: found % 7, 600, task=task, at_most=at_most)
    counts = [len(chunk) for chunk in chunks]
    assert (len(counts), sum(counts)) == (-(-600 // rows), 600)
    assert max(counts) <= rows


def test_an_evaluation_takes_each_row_once_run_by_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "RUN_ROWS", 100)
    chunks = list(evaluation.chunks(lambda found: found % 7, 250, task="classification", at_most=30))
    assert sorted(row for chunk in chunks for row in chunk) == list(range(250))
    assert all(chunk.max() // 100 == chunk.min() // 100 for chunk in chunks)

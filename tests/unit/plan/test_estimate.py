"""A plan's sums: trials on lanes, the range, and costs fitted to what a calibration saw."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.measure.seen import Kind, Seen, Timed, TimedOnce
from cluster.plan import costs_from_calibration
from cluster.plan.costs import Costs, Line, guess, slowdown
from cluster.plan.estimate import (
    SECONDS_BETWEEN_TRIALS,
    Lengths,
    Point,
    outlook,
    point,
    spread_of,
    without_extensions,
)
from cluster.plan.phases import AGAIN, EXTENSION, LOOK, Phase, least_part, phases
from cluster.study import memory
from cluster.study.protocol import CONFIRM, GRID, SCREEN
from cluster.study.rules import Protocol
from tests.support.trials import TINY
from trainer.order.cuts import of_chunks
from trainer.trial import Duration, TrialSpec

MIB = 2**20


def trial_of(**changes: Any) -> TrialSpec:
    return replace(TINY, **changes)


def costs_of(trial: TrialSpec) -> Costs:
    """A guess for the built-in model of a trial on a small vocabulary."""
    model = memory.guess(trial, vocabulary_size=40, outputs=3, length=16)
    return guess(trial, vocabulary_size=40, outputs=3, features_width=0, memory=model)


def lengths_of(rows: int = 51, held_out: int = 17) -> Lengths:
    draw = np.random.default_rng(0).integers
    return Lengths(
        train=draw(1, 13, rows),
        validation=draw(1, 13, held_out),
        test=draw(1, 13, held_out),
        rows={"train": rows, "validation": held_out, "test": held_out},
    )


def point_of(trial: TrialSpec, *, workers: int = 1, micro_batch: int = 8) -> Point:
    return point(trial, lengths_of(), costs_of(trial), workers=workers, micro_batch=micro_batch)


@pytest.mark.slow
@given(batch=st.integers(1, 51), epochs=st.integers(1, 30).map(lambda n: n / 4))
def test_updates_reach_the_budget_and_no_more(batch: int, epochs: float) -> None:
    found = point_of(trial_of(global_batch=batch, budget=Duration(unit="epochs", amount=epochs)))
    assert (found.updates - 1) * batch < epochs * 51 or found.updates == 1
    assert found.updates * batch >= epochs * 51 * (1 - 1e-9)
    assert found.epochs == found.updates * batch / 51
    assert found.seconds > found.seconds_training > 0


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    batches=st.lists(st.integers(1, 51), min_size=1, max_size=4, unique=True),
    seeds=st.integers(1, 3),
    lanes=st.integers(1, 5),
)
def test_the_lanes_share_the_sum_of_all_trials(batches: list[int], seeds: int, lanes: int) -> None:
    trials = tuple(trial_of(global_batch=batch, seed=seed) for seed in range(seeds) for batch in batches)
    points = {trial.global_batch: point_of(trial) for trial in trials}
    found = outlook([Phase(GRID, trials)], lambda trial: points[trial.global_batch], lanes=lanes)
    steady = sum(points[trial.global_batch].seconds for trial in trials)
    assert found.lane_seconds == pytest.approx(steady + found.seconds_compiling)
    working = found.seconds - found.seconds_starting - found.seconds_ending
    assert found.lane_seconds / lanes <= working * (1 + 1e-9)
    assert working <= found.lane_seconds * (1 + 1e-9)
    assert found.trials == len(trials)
    low, high = (
        outlook([Phase(GRID, trials)], lambda trial: points[trial.global_batch], lanes=lanes, factor=factor)
        for factor in (lambda costs: costs.low, lambda costs: costs.high)
    )
    assert low.seconds <= found.seconds <= high.seconds


def test_a_lane_traces_and_compiles_each_thing_once() -> None:
    trial = trial_of()
    one = point_of(trial)
    alone = outlook([Phase(GRID, (trial,))], lambda _: one, lanes=1)
    twice = outlook([Phase(GRID, (trial, trial))], lambda _: one, lanes=1)
    assert alone.seconds_compiling == twice.seconds_compiling > 0
    assert twice.lane_seconds - alone.lane_seconds == pytest.approx(one.seconds)
    on_two = outlook([Phase(GRID, (trial, trial))], lambda _: one, lanes=2)
    assert on_two.seconds_compiling == 2 * alone.seconds_compiling


def test_a_budget_in_seconds_takes_its_seconds_and_no_factor_changes_them() -> None:
    every = Duration(unit="seconds", amount=25.0)
    found = point_of(trial_of(budget=Duration(unit="seconds", amount=100.0), evaluate_every=every))
    assert found.seconds_training == 100.0
    assert found.updates > 1
    assert found.evaluations == 5
    slow = outlook([Phase(GRID, (found.trial,))], lambda _: found, lanes=1, factor=lambda costs: 1000.0)
    assert (
        slow.lane_seconds - slow.seconds_compiling
        < 100 + 1000 * (found.seconds_evaluating + SECONDS_BETWEEN_TRIALS) + 1
    )


def test_phases_of_a_protocol_wait_for_each_other_and_extensions_are_only_in_the_upper_end() -> None:
    grid = [
        trial_of(global_batch=batch, learning_rate=rate, seed=seed)
        for seed in (0, 1)
        for batch in (4, 8)
        for rate in (0.1, 0.2, 0.4)
    ]
    found = phases(grid, Protocol(screen_seeds=2, extensions=2), margin=0.1)
    assert [(phase.name, len(phase.trials)) for phase in found] == [
        (SCREEN, 12),
        (EXTENSION, 4),
        (EXTENSION, 4),
        (CONFIRM, 4),
    ]
    points = {batch: point_of(grid[0] if batch == 4 else grid[3]) for batch in (4, 8)}
    usual = outlook(
        found, lambda trial: points[trial.global_batch], lanes=2, part=partial(without_extensions, of_looks=0.0)
    )
    most = outlook(found, lambda trial: points[trial.global_batch], lanes=2)
    assert (usual.trials, most.trials) == (16, 24)
    assert most.seconds > usual.seconds


def test_a_repeated_screen_is_in_the_upper_end_where_a_margin_may_ask_for_it() -> None:
    grid = [trial_of(global_batch=8, learning_rate=rate, seed=seed) for seed in range(5) for rate in (0.1, 0.2, 0.4)]
    found = phases(grid, Protocol(extensions=2), margin=0.1)
    assert [(phase.name, len(phase.trials)) for phase in found if phase.trials[0].seed not in range(5)] == [
        (SCREEN, 3),
        (EXTENSION, 1),
        (EXTENSION, 1),
        (AGAIN, 5),
    ]
    assert not {trial.seed for trial in found[0].trials} & {trial.seed for trial in found[3].trials}
    one = point_of(grid[0])
    usual = outlook(found, lambda _: one, lanes=1, part=partial(without_extensions, of_looks=0.0))
    assert (usual.trials, outlook(found, lambda _: one, lanes=1).trials) == (8, 15)
    for rules, margin in ((Protocol(), None), (Protocol(screen_seeds=2), 0.1), (Protocol(rates="best_of_grid"), 0.1)):
        assert AGAIN not in {phase.name for phase in phases(grid, rules, margin)}


def test_looks_after_the_first_are_in_the_upper_end_and_half_expected() -> None:
    grid = [
        trial_of(global_batch=batch, learning_rate=rate, seed=seed)
        for seed in range(10)
        for batch in (4, 8)
        for rate in (0.1, 0.2, 0.4)
    ]
    found = phases(grid, Protocol(extensions=0), margin=None)
    assert [(phase.name, len(phase.trials)) for phase in found] == [(SCREEN, 6), (CONFIRM, 10), (LOOK, 4), (LOOK, 6)]
    one = point_of(grid[0])
    ends = [
        outlook(found, lambda _: one, lanes=1, part=partial(without_extensions, of_looks=part)).seconds
        for part in (0.0, 0.5, 1.0)
    ]
    assert ends[0] < ends[1] < ends[2]


def test_early_stopping_ends_at_most_what_halving_can() -> None:
    trials = tuple(trial_of(learning_rate=rate) for rate in (0.1, 0.2, 0.3, 0.4))
    rules = Protocol(stop_early=True, rates="best_of_grid")
    # Two of four end at a quarter, one at the half, one goes on.
    assert least_part(Phase(SCREEN, trials), rules) == (2 / 4 + 1 / 2 + 1) / 4
    assert least_part(Phase(CONFIRM, trials), rules) == 1.0
    assert least_part(Phase(SCREEN, trials), Protocol()) == 1.0


def test_lengths_drawn_from_a_histogram_are_within_its_bins() -> None:
    found = spread_of([0, 0, 100, 300], rows=400, tokens=4000, longest=12)
    assert sorted(set(found.tolist())) == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert (found < 8).sum() == 100
    assert spread_of([], rows=10, tokens=70, longest=12).tolist() == [7] * 10
    assert len(spread_of([0, 10**9], rows=10**9, tokens=2 * 10**9, longest=12)) == 20_000


def seen_by(true: Line, fixed: float, compiling: float, trial: TrialSpec, slope: float, *, first: bool = True) -> Seen:
    """What a worker without any noise sees; evaluating compiles in half the time; `first`: nothing is compiled yet."""
    random = np.random.default_rng(0)

    def timed(count: int, base: float, new: int, part: float = 1.0) -> Timed:
        cut = of_chunks([random.integers(1, 200, random.integers(1, 33)) for _ in range(count)])
        new = new if first else 0
        return Timed(cuts=cut, new_shapes=new, seconds=base + true.seconds(cut) + part * compiling * new)

    base, proof = 800 * MIB, of_chunks([random.integers(1, 200, 5) for _ in range(13)])
    kind = Kind(
        trial=trial,
        rows=32,
        length=200,
        many_rows=128,
        traced=TimedOnce(seconds=5.0 + 1.5 * compiling * first, new_shapes=int(first), new_forward_shapes=int(first)),
        traced_bytes=int(base + slope * 32 * 200),
        evaluations=[timed(1, 0.0, new, 0.5) for new in (1, 0, 1, 0, 0, 0, 0)],
        evaluated_bytes=int(base + slope * 32 * 200),
        updates=[timed(int(random.integers(1, 9)), fixed, number % 9 == 0) for number in range(60)],
        trained_bytes=int(base + slope * 32 * 200),
        many_bytes=int(base + slope * 128 * 200),
        proved=TimedOnce(
            seconds=2 * true.seconds(proof) + 2.5 * compiling * first, new_shapes=2 * first, new_forward_shapes=first
        ),
        proof_training=proof,
        proof_evaluation=proof,
    )
    return Seen(seconds_importing=4.0, seconds=10.0, seconds_of_cores=5.0, kinds=[kind])


def test_what_updates_take_beside_their_shapes_is_counted_once() -> None:
    guessed = memory.guess(trial_of(), vocabulary_size=40, outputs=3, length=200)
    seen = seen_by(Line(each=2e-3, token=3e-5, place=1e-6, packed=4e-6), 5e-3, 1.5, trial_of(), 6000.0)
    [kind] = seen.kinds
    # Evaluations took more than what was traced, so that they are a floor under the line.
    high = {name: getattr(kind, name) + 200 * MIB for name in ("evaluated_bytes", "trained_bytes", "many_bytes")}
    kind = replace(kind, **high)
    before, new = costs_from_calibration.memory([kind], guessed), sum(one.new_shapes for one in kind.updates)
    compiled = sum(one.new_shapes for one in kind.evaluations)
    for more, once, each in ((5 * new, 0, 5), (10 * new + 33, 33, 10)):
        grown = replace(kind, trained_bytes=kind.trained_bytes + more * MIB, many_bytes=kind.many_bytes + more * MIB)
        assert costs_from_calibration.bytes_per_shape([grown]) == pytest.approx(each * MIB)
        found = costs_from_calibration.memory([grown], guessed)
        assert found.base_bytes == pytest.approx(before.base_bytes + once * MIB, rel=1e-3)
        assert found.least_bytes == pytest.approx(before.least_bytes + (once - each * compiled) * MIB, rel=1e-3)


def test_costs_are_those_behind_what_was_seen() -> None:
    true = Line(each=2e-3, token=3e-5, place=1e-6, packed=4e-6)
    guessed = memory.guess(trial_of(), vocabulary_size=40, outputs=3, length=200)
    found = costs_from_calibration.costs(
        [seen_by(true, 5e-3, 1.5, trial_of(), 6000.0)] * 2, 0, [guessed], together=False
    )
    assert found.seconds_per_update == pytest.approx(5e-3, rel=1e-6)
    assert vars(found.training) == pytest.approx(vars(true))
    assert vars(found.evaluation) == pytest.approx(vars(true))
    # What is guessed weighs a little.
    assert (found.seconds_compiling, found.seconds_compiling_forward) == pytest.approx((1.5, 0.75), rel=1e-3)
    assert found.seconds_tracing == pytest.approx(5.0 + proof_seconds(true), rel=1e-3)
    assert found.memory.bytes_per_place == pytest.approx(6000, rel=1e-6)
    assert found.memory.bytes_at(micro_batch=8, length=100) == pytest.approx(800 * MIB + 6000 * 800, rel=1e-6)
    # Half of the time went to other work: without it, it would take half as long.
    assert found.low == 0.5
    assert (
        costs_from_calibration.costs([seen_by(true, 5e-3, 1.5, trial_of(), 6000.0)], 0, [guessed], together=True).low
        > 0.9
    )


def proof_seconds(true: Line) -> float:
    """What the proof of `seen_by` takes where nothing is compiled."""
    return 2 * true.seconds(seen_by(true, 0.0, 0.0, TINY, 0.0).kinds[0].proof_training)


def test_where_one_of_two_was_never_compiled_it_takes_half_of_the_other() -> None:
    true = Line(each=2e-3, token=3e-5, place=1e-6, packed=4e-6)
    seen = seen_by(true, 5e-3, 1.5, trial_of(), 6000.0)
    kind = seen.kinds[0]
    steady = [one for one in kind.evaluations if not one.new_shapes]
    nothing = TimedOnce(seconds=2 * true.seconds(kind.proof_training), new_shapes=0, new_forward_shapes=0)
    seen = replace(seen, kinds=[replace(kind, evaluations=steady, proved=nothing)])
    guessed = memory.guess(trial_of(), vocabulary_size=40, outputs=3, length=200)
    found = costs_from_calibration.costs([seen], 0, [guessed], together=False)
    assert found.seconds_compiling == pytest.approx(1.5, rel=1e-2)
    assert found.seconds_compiling_forward == pytest.approx(0.75, rel=1e-2)


def test_a_second_optimizer_compiles_what_the_first_compiled_for_it_in_the_calibration() -> None:
    trials = [trial_of(optimizer="sgd"), trial_of(optimizer="adam")]
    guesses = [memory.guess(trial, vocabulary_size=40, outputs=3, length=200) for trial in trials]
    true = Line(each=2e-3, token=3e-5, place=1e-6, packed=4e-6)
    kinds = [seen_by(true, 5e-3, 1.5, one, 6000.0, first=one is trials[0]).kinds[0] for one in trials]
    seen = replace(seen_by(true, 5e-3, 1.5, trials[0], 6000.0), kinds=kinds)
    found = [costs_from_calibration.costs([seen], number, guesses, together=False) for number in range(2)]
    # On another lane it may be the first.
    assert found[0].seconds_compiling == found[1].seconds_compiling == pytest.approx(1.5, rel=1e-2)
    assert found[1].seconds_tracing == pytest.approx(5.0 + proof_seconds(true), rel=1e-3)


@pytest.mark.slow
@given(lanes=st.integers(1, 64), spare=st.integers(0, 64))
def test_beside_ray_lanes_are_slower_only_where_they_leave_it_no_cores(lanes: int, spare: int) -> None:
    found = slowdown(lanes=lanes, cores_a_lane=1.0, cores=lanes + spare)
    assert 1.0 <= found < 1.2
    assert (found > 1.0) == (spare < 0.09 + 0.04 * lanes)
    trial = trial_of()
    layout: dict[str, Any] = {"workers": 1, "micro_batch": 8}
    usual, slower = (point(trial, lengths_of(), costs_of(trial).times(by), **layout) for by in (1.0, found))
    assert slower.seconds_training == pytest.approx(usual.seconds_training * found)
    assert slower.seconds_evaluating == pytest.approx(usual.seconds_evaluating * found)
    assert slower.memory_bytes == usual.memory_bytes


def test_the_memory_of_a_second_kind_is_the_first_ones_and_what_a_guess_says_they_differ_by() -> None:
    kinds = [trial_of(dtype="float32"), trial_of(dtype="float64")]
    guesses = [memory.guess(trial, vocabulary_size=40, outputs=3, length=200) for trial in kinds]
    true = Line(each=2e-3, token=3e-5, place=1e-6, packed=4e-6)
    one = seen_by(true, 5e-3, 1.5, kinds[0], 6000.0)
    seen = replace(one, kinds=[*one.kinds, seen_by(true, 5e-3, 1.5, kinds[1], 0.0).kinds[0]])
    found = [costs_from_calibration.costs([seen], number, guesses, together=False).memory for number in range(2)]
    assert found[1].bytes_per_place == pytest.approx(2 * found[0].bytes_per_place)
    more = guesses[1].base_bytes - guesses[0].base_bytes
    assert found[1].base_bytes - found[0].base_bytes == pytest.approx(more)


def test_a_guess_of_memory_grows_with_what_it_holds() -> None:
    def bytes_of(trial: TrialSpec, micro_batch: int = 32) -> float:
        model = memory.guess(trial, vocabulary_size=40, outputs=3)
        return model.bytes_at(micro_batch=micro_batch, length=100)

    trial = trial_of()
    more = [
        replace(trial, dtype="float64"),
        replace(trial, task="language_model"),
        *(
            replace(trial, model=replace(trial.model, **change))
            for change in ({"lstm_units": 10}, {"layers": 2}, {"bidirectional": True}, {"embedding_units": 60})
        ),
    ]
    assert all(bytes_of(other) > bytes_of(trial) for other in more)
    assert bytes_of(replace(trial, optimizer="sgd")) < bytes_of(trial) < bytes_of(trial, 64)

"""Which trials the protocol wants: pure decisions from answers."""

import json
import math
from collections.abc import Callable, Mapping
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cluster.study import axes, protocol
from cluster.study.protocol import CONFIRM, GRID, SCREEN, Wanted
from cluster.study.rules import Protocol
from cluster.study.seeds import SCREEN_SEEDS
from cluster.study.spec import StudySpec, parse
from trainer.errors import InputError
from trainer.trial import TrialSpec

BATCHES, SEEDS, POINTS = (8, 64), 3, 5


AXES = {
    "global_batch": list(BATCHES),
    "learning_rate": {"around": 0.01, "at": 8, "rule": "sqrt", "points": POINTS},
    "seeds": SEEDS,
}


def spec(**changed: object) -> StudySpec:
    whole = {"study": "s", "data": "d", "task": "classification", "axes": AXES, "budget": {"epochs": 1}, "protocol": {}}
    return parse(json.dumps(whole | changed), where="here")


def grid_of(one: StudySpec) -> tuple[TrialSpec, ...]:
    return axes.trials(one, data_hash="d" * 16, train_rows=1000)


def played(
    one: StudySpec,
    loss: Callable[[TrialSpec], float],
    screened_on: tuple[int, ...] = (),
    margin: float | None = None,
) -> tuple[Wanted, dict[str, float]]:
    """The plan at the end, when each trial that is wanted gets its loss in turn."""
    grid, losses = grid_of(one), dict[str, float]()
    conditions = protocol.Conditions(screened_on=screened_on, margin=margin)
    while True:
        plan = protocol.wanted(grid, one.protocol, losses, conditions)
        missing = [planned.trial for planned in plan.trials if planned.trial.trial_id not in losses]
        if not missing:
            return plan, losses
        losses[missing[0].trial_id] = loss(missing[0])


def best_at(rates: Mapping[int, float]) -> Callable[[TrialSpec], float]:
    return lambda trial: 1 + abs(math.log(trial.learning_rate / rates[trial.global_batch]))


def of_phase(plan: Wanted, phase: str) -> list[TrialSpec]:
    return [planned.trial for planned in plan.trials if planned.phase == phase]


def test_a_plain_grid_wants_everything_at_once() -> None:
    one = spec(protocol=None)
    plan = protocol.wanted(grid_of(one), None, {})
    assert [planned.trial for planned in plan.trials] == list(grid_of(one))
    assert {planned.phase for planned in plan.trials} == {GRID}
    assert not plan.open
    assert protocol.expected(grid_of(one), None) == grid_of(one)


def test_the_screen_comes_first_on_seeds_of_its_own() -> None:
    one = spec()
    plan = protocol.wanted(grid_of(one), one.protocol, {})
    assert plan.open
    assert len(of_phase(plan, SCREEN)) == len(plan.trials) == len(BATCHES) * POINTS
    assert {trial.seed for trial in of_phase(plan, SCREEN)} == {SCREEN_SEEDS[0]}


def test_the_best_rate_of_each_batch_is_confirmed_on_fresh_paired_seeds() -> None:
    one = spec()
    middle = {batch: axes.rates(one.axes.learning_rate, batch)[POINTS // 2] for batch in BATCHES}
    plan, _ = played(one, best_at(middle))
    assert not plan.open
    confirmed = [(trial.seed, trial.global_batch, trial.learning_rate) for trial in of_phase(plan, CONFIRM)]
    assert confirmed == [(seed, batch, middle[batch]) for seed in range(SEEDS) for batch in BATCHES]
    assert len(plan.trials) == len(protocol.expected(grid_of(one), one.protocol))


def test_while_a_best_rate_is_at_an_edge_every_batch_gets_one_more() -> None:
    one = spec()
    rates = {batch: axes.rates(one.axes.learning_rate, batch) for batch in BATCHES}
    # Of 8 the best lies two rates above the grid, of 64 it is the second lowest.
    plan, _ = played(one, best_at({8: rates[8][-1] * 9, 64: rates[64][1]}))
    screened = of_phase(plan, SCREEN)
    tried = {batch: sorted(t.learning_rate for t in screened if t.global_batch == batch) for batch in BATCHES}
    assert tried[8] == pytest.approx([*rates[8], rates[8][-1] * 3, rates[8][-1] * 9])
    assert tried[64] == pytest.approx([rates[64][0] / 9, rates[64][0] / 3, *rates[64]])
    confirmed = {trial.global_batch: trial.learning_rate for trial in of_phase(plan, CONFIRM)}
    assert confirmed == pytest.approx({8: rates[8][-1] * 9, 64: rates[64][1]})


def test_no_extension_is_made_when_none_is_allowed() -> None:
    one = spec(protocol={"extensions": 0})
    plan, _ = played(one, best_at(dict.fromkeys(BATCHES, 1000.0)))
    assert len(of_phase(plan, SCREEN)) == len(BATCHES) * POINTS
    assert len(of_phase(plan, CONFIRM)) == len(BATCHES) * SEEDS


def test_where_every_rate_diverges_lower_ones_are_tried_and_nothing_is_confirmed() -> None:
    one = spec()
    low = {batch: min(axes.rates(one.axes.learning_rate, batch)) for batch in BATCHES}
    plan, _ = played(one, lambda trial: math.inf if trial.global_batch == 64 else best_at({8: 0.01})(trial))
    rates = [trial.learning_rate for trial in of_phase(plan, SCREEN) if trial.global_batch == 64]
    assert min(rates) == pytest.approx(low[64] / 9)
    assert {trial.global_batch for trial in of_phase(plan, CONFIRM)} == {8}


def test_a_rate_that_diverged_on_one_screen_seed_is_not_the_best() -> None:
    one = spec(protocol={"screen_seeds": 2})
    rates = axes.rates(one.axes.learning_rate, 8)
    worse = best_at({8: rates[2], 64: axes.rates(one.axes.learning_rate, 64)[2]})

    def loss(trial: TrialSpec) -> float:
        return math.inf if (trial.learning_rate, trial.seed) == (rates[2], SCREEN_SEEDS[1]) else worse(trial)

    plan, _ = played(one, loss)
    assert {t.learning_rate for t in of_phase(plan, CONFIRM) if t.global_batch == 8} <= {rates[1], rates[3]}


@pytest.mark.parametrize(
    ("deviation", "changed", "margin", "seeds"),
    [
        (0.06, {}, 0.1, 2),
        (0.06, {}, None, 1),
        (0.06, {"screen_seeds": 1}, 0.1, 1),
        (0.06, {"rates": "best_of_grid"}, 0.1, 1),
        (0.06, {}, 0.5, 1),
        (0.005, {}, 0.1, 1),
    ],
)
def test_a_screen_too_noisy_for_the_margin_is_repeated_on_another_seed(
    deviation: float, changed: dict[str, object], margin: float | None, seeds: int
) -> None:
    one = spec(protocol=changed)
    rates = {batch: axes.rates(one.axes.learning_rate, batch) for batch in BATCHES}
    # The best rate of 8 is the second lowest: with luck the lowest is, which adds a rate.
    best = {8: rates[8][1], 64: rates[64][2]}

    def loss(trial: TrialSpec) -> float:
        away = math.log2(trial.learning_rate / best[trial.global_batch])
        return 1 + 0.05 * away**2 + Random(f"{trial.trial_id}").gauss(0, deviation)

    plan, _ = played(one, loss, margin=margin)
    screened = of_phase(plan, SCREEN)
    tried = {
        seed: sorted((trial.global_batch, trial.learning_rate) for trial in screened if trial.seed == seed)
        for seed in sorted({trial.seed for trial in screened})
    }
    assert list(tried) == list(SCREEN_SEEDS[:seeds])
    assert len({str(of_seed) for of_seed in tried.values()}) == 1


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=300, max_size=300), st.integers(1, 2), st.integers(0, 3))
def test_a_plan_only_grows_and_searches_all_batches_equally(
    values: list[float], screen_seeds: int, extensions: int
) -> None:
    one = spec(protocol={"screen_seeds": screen_seeds, "extensions": extensions})
    grid, losses, before, drawn = grid_of(one), dict[str, float](), Wanted((), open=True), iter(values)
    while True:
        plan = protocol.wanted(grid, one.protocol, losses)
        assert plan.trials[: len(before.trials)] == before.trials
        assert before.open or not plan.open
        missing = [planned.trial for planned in plan.trials if planned.trial.trial_id not in losses]
        if not missing:
            break
        losses[missing[-1].trial_id], before = next(drawn), plan
    counts = {batch: sum(t.global_batch == batch for t in of_phase(plan, SCREEN)) for batch in BATCHES}
    assert len(set(counts.values())) == 1
    assert counts[8] <= (POINTS + extensions) * screen_seeds
    assert len({planned.trial.trial_id for planned in plan.trials}) == len(plan.trials)
    assert not {t.seed for t in of_phase(plan, SCREEN)} & {t.seed for t in of_phase(plan, CONFIRM)}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"axes": AXES | {"learning_rate": [0.1, 0.2]}}, "has 2: give at least 3"),
        ({"axes": AXES | {"learning_rate": [0.1, 0.3, 0.2]}}, "rising"),
        ({"protocol": {"stop_early": True, "rates": "best_of_grid"}, "budget": {"seconds": 5}}, "equal examples"),
        ({"protocol": {"stop_early": True}}, "add rates: best_of_grid, or remove stop_early"),
        ({"protocol": {"rates": "best"}}, "use one of fitted, best_of_grid"),
        ({"protocol": {"looks": [5, 3]}}, "rising numbers of seeds from 3 to 1000"),
        ({"protocol": {"looks": "often"}}, "give auto, none, or rising"),
    ],
)
def test_a_spec_that_cannot_be_tuned_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        spec(**changed)


def test_a_study_without_a_protocol_keeps_its_identity() -> None:
    from cluster.study import identity

    assert "protocol" not in identity.canonical_json(spec(protocol=None))
    assert identity.spec_hash(spec()) != identity.spec_hash(spec(protocol=None))
    assert Protocol() == spec().protocol


def test_more_seeds_leave_the_screen_where_it_was_and_only_confirm_more() -> None:
    three, five = spec(), spec(axes=AXES | {"seeds": SEEDS + 2})
    middle = best_at({batch: axes.rates(three.axes.learning_rate, batch)[POINTS // 2] for batch in BATCHES})
    (before, _), (after, _) = played(three, middle), played(five, middle)
    assert of_phase(after, SCREEN) == of_phase(before, SCREEN)
    further = set(of_phase(after, CONFIRM)) - set(of_phase(before, CONFIRM))
    assert {(trial.global_batch, trial.seed) for trial in further} == {(b, s) for b in BATCHES for s in (3, 4)}
    assert set(of_phase(before, CONFIRM)) <= set(of_phase(after, CONFIRM))


def test_a_screen_on_other_seeds_is_kept_and_none_of_its_seeds_confirms() -> None:
    one = spec(axes=AXES | {"seeds": 5})
    middle = best_at({batch: axes.rates(one.axes.learning_rate, batch)[POINTS // 2] for batch in BATCHES})
    # As versions before this one screened three seeds, and then five.
    for screened_on in ((3,), (3, 5)):
        plan, _ = played(one, middle, screened_on=screened_on)
        assert {trial.seed for trial in of_phase(plan, SCREEN)} == {3}
        confirmed = [trial.seed for trial in of_phase(plan, CONFIRM) if trial.global_batch == 8]
        assert confirmed == [0, 1, 2, 5 if screened_on == (3,) else 6, 4]


def test_the_seeds_of_the_screen_are_refused_on_the_axis() -> None:
    taken = SCREEN_SEEDS[3]
    with pytest.raises(InputError, match=rf"axes.seeds has {taken}, .* {SCREEN_SEEDS[0]} to {SCREEN_SEEDS[-1]}"):
        spec(axes=AXES | {"seeds": [0, taken]})
    assert spec(axes=AXES | {"seeds": [0, taken]}, protocol=None).axes.seeds == (0, taken)
    assert spec(axes=AXES | {"seeds": [SCREEN_SEEDS[-1] + 1]})


def test_seeds_that_came_after_the_looks_are_confirmed_by_all_and_decide_nothing() -> None:
    one = spec(axes=AXES | {"seeds": 7})
    middle = best_at({batch: axes.rates(one.axes.learning_rate, batch)[POINTS // 2] for batch in BATCHES})
    grid, losses = grid_of(one), dict[str, float]()
    conditions = protocol.Conditions(declared_seeds=(0, 1, 2, 3, 4), margin=0.5)
    while True:
        plan = protocol.wanted(grid, one.protocol, losses, conditions)
        missing = [planned.trial for planned in plan.trials if planned.trial.trial_id not in losses]
        if not missing:
            break
        losses |= {trial.trial_id: middle(trial) + trial.seed / 1e4 for trial in missing}
    confirmed = {(trial.global_batch, trial.seed) for trial in of_phase(plan, CONFIRM)}
    assert confirmed == {(batch, seed) for batch in BATCHES for seed in range(7)}
    # Declared before, the two of them would not have been needed.
    assert len(of_phase(played(one, middle)[0], CONFIRM)) == len(BATCHES) * 7
    early = protocol.wanted(grid, one.protocol, losses, protocol.Conditions(margin=0.5))
    assert len(of_phase(early, CONFIRM)) == len(BATCHES) * 5


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
# A run of the second look diverges, which decides what it is compared with before the others of that look have ended.
@example(69070, Random(0))
def test_whatever_the_order_of_answers_the_same_trials_are_wanted_in_the_end(world: int, order: Random) -> None:
    one = spec(axes=AXES | {"seeds": 10}, margin={"validation_loss": 0.3})
    middle = best_at({batch: axes.rates(one.axes.learning_rate, batch)[POINTS // 2] for batch in BATCHES})

    def loss(trial: TrialSpec) -> float:
        noise = Random(f"{world} {trial.trial_id}").gauss(0, 0.2)
        return math.inf if noise > 0.55 else middle(trial) + noise

    ends = []
    for pick in (min, max, None):
        grid, losses = grid_of(one), dict[str, float]()
        conditions = protocol.Conditions(margin=0.3)
        while missing := [
            planned.trial
            for planned in protocol.wanted(grid, one.protocol, losses, conditions).trials
            if planned.trial.trial_id not in losses
        ]:
            trial = pick(missing, key=lambda trial: trial.trial_id) if pick else order.choice(missing)
            losses[trial.trial_id] = loss(trial)
        ends.append(losses)
    assert ends[0] == ends[1] == ends[2]
    confirmed = [p.trial for p in protocol.wanted(grid, one.protocol, losses, conditions).trials if p.phase == CONFIRM]
    assert len(confirmed) >= 5

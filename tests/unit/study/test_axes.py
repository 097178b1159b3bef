"""From axes to trials: the cross product, its order, `full`, and the learning-rate rule."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.study.axes import beta1, beta2, decay_per_update, rates, trials
from cluster.study.rules import DecayPerExample, HalfLife, RateRule
from cluster.study.spec import StudySpec
from trainer.errors import InputError
from trainer.trial import DTYPES, OPTIMIZERS, Duration, ModelSpec, TrialSpec

# On a busy machine generating examples is slow, which says nothing about the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def study(**changes: Any) -> StudySpec:
    axes = {"global_batch": [8, "full"], "learning_rate": [0.1, 0.01], "seeds": 3, **changes.pop("axes", {})}
    fields = {"study": "s", "data": "d", "task": "regression", "budget": {"epochs": 2}, **changes, "axes": axes}
    return StudySpec.model_validate(fields)


def expanded(spec: StudySpec, rows: int = 100) -> tuple[TrialSpec, ...]:
    return trials(spec, data_hash="hash", train_rows=rows)


def test_a_trial_carries_everything_the_study_says() -> None:
    spec = study(
        model={"lstm_units": 4},
        clip_norm=1,
        evaluate_every={"updates": 5},
        axes={"global_batch": "full", "learning_rate": 0.1, "seeds": [7], "optimizer": "sgd", "dtype": "float64"},
    )
    assert expanded(spec) == (
        TrialSpec(
            data_hash="hash",
            task="regression",
            model=ModelSpec(lstm_units=4),
            global_batch=100,
            learning_rate=0.1,
            optimizer="sgd",
            dtype="float64",
            seed=7,
            budget=Duration(unit="epochs", amount=2.0),
            evaluate_every=Duration(unit="updates", amount=5.0),
            clip_norm=1.0,
        ),
    )


def test_a_trial_shuffles_within_the_studys_windows() -> None:
    assert {trial.window_rows for trial in expanded(study())} == {None}
    assert {trial.window_rows for trial in expanded(study(shuffle={"window_rows": 50}))} == {50}


def test_each_global_batch_has_its_own_budget() -> None:
    spec = study(budget={8: {"epochs": 15}, "full": {"epochs": 150}})
    assert {(t.global_batch, t.budget.amount) for t in expanded(spec)} == {(8, 15.0), (100, 150.0)}


@pytest.mark.slow
@unhurried
@given(
    batches=st.lists(st.integers(1, 99) | st.just("full"), min_size=1, max_size=4, unique=True),
    rate=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=3, unique=True)
    | st.builds(
        lambda rule, points: {"around": 0.01, "at": 32, "rule": rule, "points": points},
        st.sampled_from(["sqrt", "linear", "none"]),
        st.integers(1, 4),
    ),
    optimizers=st.lists(st.sampled_from(OPTIMIZERS), min_size=1, max_size=3, unique=True),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=2, unique=True),
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True),
)
def test_the_trials_are_the_product_a_seed_of_every_point_first(
    batches: list[Any], rate: Any, optimizers: list[str], dtypes: list[str], seeds: list[int]
) -> None:
    axes = {
        "global_batch": batches,
        "learning_rate": rate,
        "optimizer": optimizers,
        "dtype": dtypes,
        "seeds": seeds,
    }
    spec = study(axes=axes)
    found = expanded(spec)
    points = [
        (rows, value, optimizer, dtype)
        for rows in (100 if batch == "full" else batch for batch in batches)
        for value in rates(spec.axes.learning_rate, rows)
        for optimizer, dtype in itertools.product(optimizers, dtypes)
    ]
    seen = [(t.global_batch, t.learning_rate, t.optimizer, t.dtype) for t in found]
    assert len({t.trial_id for t in found}) == len(found) == len(points) * len(seeds)
    for turn, seed in enumerate(seeds):
        part = slice(turn * len(points), (turn + 1) * len(points))
        assert sorted(seen[part]) == sorted(points)
        assert {t.seed for t in found[part]} == {seed}


def test_within_a_seed_the_dtype_changes_slowest_and_the_rate_fastest() -> None:
    spec = study(axes={"seeds": 1, "dtype": ["float64", "float32"]})
    assert [(t.dtype, t.global_batch, t.learning_rate) for t in expanded(spec)] == list(
        itertools.product(["float64", "float32"], [8, 100], [0.1, 0.01])
    )


def test_a_global_batch_over_all_rows_is_refused() -> None:
    with pytest.raises(InputError, match=r"axes\.global_batch: 8 is more than the 7 rows .*: give at most 7, or full"):
        expanded(study(), rows=7)
    assert expanded(study(axes={"global_batch": [8]}), rows=8)


def test_full_beside_its_own_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"axes\.global_batch: full and 8 are the same, .* 8 rows: remove one"):
        expanded(study(), rows=8)


RULE = st.builds(
    RateRule,
    around=st.floats(1e-6, 10),
    at=st.integers(1, 10**6),
    rule=st.sampled_from(["sqrt", "linear", "none"]),
    points=st.integers(1, 9),
    factor=st.floats(1.01, 100),
)


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-10)


@unhurried
@given(RULE, st.integers(1, 10**6), st.integers(1, 1000))
def test_the_rule_scales_the_whole_grid(rule: RateRule, batch: int, times: int) -> None:
    assert rule.at is not None
    grid = rates(rule, batch)
    assert len(grid) == rule.points
    assert math.prod(rates(rule, rule.at)) == near(rule.around**rule.points)
    for lower, upper in itertools.pairwise(grid):
        assert upper / lower == near(rule.factor)
    scale = {"none": 1.0, "sqrt": math.sqrt(times), "linear": float(times)}[rule.rule]
    assert list(rates(rule, batch * times)) == [near(rate * scale) for rate in grid]


def test_the_rates_are_the_numbers_one_expects() -> None:
    assert rates(RateRule(around=0.001, at=32, rule="sqrt"), 32) == (0.001,)
    assert rates(RateRule(around=0.001, at=32, rule="sqrt"), 128) == (0.002,)
    assert rates(RateRule(around=0.001, at=32, rule="linear"), 8) == (0.00025,)
    assert rates(RateRule(around=0.01, rule="none", points=3, factor=10), 5) == (0.001, 0.01, 0.1)
    assert rates(RateRule(around=0.1, at=4, rule="none", points=2, factor=4), 5) == (0.05, 0.2)
    assert rates((0.5, 0.1), 7) == (0.5, 0.1)


@pytest.mark.parametrize(
    "rule",
    [
        RateRule(around=0.1, rule="none", points=19, factor=1e6),
        RateRule(around=3e38, at=1, rule="linear"),
        RateRule(around=2e-38, at=1000, rule="linear"),
    ],
)
def test_rates_that_no_number_holds_are_refused(rule: RateRule) -> None:
    with pytest.raises(
        InputError, match=r"axes\.learning_rate: .* rates .* at global batch 16: change points, factor or at"
    ):
        rates(rule, 16)


def test_rates_that_training_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(InputError, match=r"0\.001 and 0\.00100000000001 are the same rate in float32: remove one"):
        rates((0.001, 0.01, 0.00100000000001), 16)


def test_a_warm_up_that_no_trial_leaves_is_refused() -> None:
    with pytest.raises(InputError, match=r"warmup\.examples is 101, but a trial at global batch .* uses only 100"):
        expanded(study(warmup={"examples": 101}, budget={"examples": 100}, axes={"global_batch": 10}))


def test_the_schedule_and_the_warm_up_reach_every_trial() -> None:
    assert {(trial.schedule, trial.warmup_examples) for trial in expanded(study())} == {("constant", 0)}
    shaped = expanded(study(schedule="linear", warmup={"examples": 50}))
    assert {(trial.schedule, trial.warmup_examples) for trial in shaped} == {("linear", 50)}


def test_beta2_has_the_same_half_life_in_examples_at_every_global_batch() -> None:
    rule = HalfLife(value=0.95, at=512)
    assert beta2(rule, 512) == 0.95
    assert beta2(rule, 1) == pytest.approx(0.99990, abs=1e-6)
    assert beta2("fixed", 1) is None
    half_lives = [batch * math.log(0.5) / math.log(beta2(rule, batch) or 0) for batch in (1, 17, 512, 4096)]
    assert half_lives == [pytest.approx(half_lives[0], rel=1e-9)] * 4


def test_beta2_reaches_the_trials_of_adam_alone() -> None:
    spec = study(beta2={"value": 0.999, "at": 8}, axes={"optimizer": ["sgd", "adam", "adamw"]})
    found = {(trial.global_batch, trial.optimizer): trial.beta2 for trial in expanded(spec, rows=16)}
    square = pytest.approx(0.999**2, rel=1e-12)
    assert found == {
        (8, "sgd"): None,
        (16, "sgd"): None,
        (8, "adam"): pytest.approx(0.999, rel=1e-15),
        (16, "adam"): square,
        (8, "adamw"): pytest.approx(0.999, rel=1e-15),
        (16, "adamw"): square,
    }
    assert {trial.beta2 for trial in expanded(study(axes={"optimizer": "adam"}))} == {None}


def test_a_beta2_that_float32_cannot_tell_from_1_is_refused() -> None:
    with pytest.raises(InputError, match=r"beta2: 0.999 at global batch 5000 is 1 - 2e-07 at 1, .* closer to 1$"):
        beta2(HalfLife(value=0.999, at=5000), 1)


def test_beta1_has_the_same_half_life_in_examples_at_every_global_batch() -> None:
    rule = HalfLife(value=0.9, at=32)
    assert (beta1(rule, 32), beta1("fixed", 1)) == (0.9, None)
    assert beta1(rule, 64) == pytest.approx(0.81, rel=1e-12)
    half_lives = [batch * math.log(0.5) / math.log(beta1(rule, batch) or 0) for batch in (1, 17, 512)]
    assert half_lives == [pytest.approx(half_lives[0], rel=1e-9)] * 3
    # A batch of far more examples than the half-life leaves no momentum.
    assert beta1(rule, 10**6) == 0
    with pytest.raises(InputError, match=r"beta1: 0.9 at global batch 500000 is 1 - 2e-07 at 1, too close to 1"):
        beta1(HalfLife(value=0.9, at=500000), 1)


DECAY = DecayPerExample(value=0.5, at=8, rate=0.01)


def test_a_decay_per_example_leaves_the_same_of_a_weight_after_equally_many_examples() -> None:
    assert decay_per_update(DECAY, 8) == pytest.approx(0.005, rel=1e-12)
    left = [(1 - decay_per_update(DECAY, batch)) ** (8000 / batch) for batch in (1, 8, 17, 80, 4096)]
    assert left == [pytest.approx(left[0], rel=1e-9)] * 5
    # The fraction grows like the batch, as long as it is small.
    assert decay_per_update(DECAY, 16) == pytest.approx(2 * 0.005, rel=0.01)


def test_a_decay_that_float32_rounds_away_is_refused() -> None:
    with pytest.raises(InputError, match=r"weight_decay: 0.004 at global batch 64 takes 6e-08 off a weight .* 1 rows"):
        decay_per_update(DecayPerExample(value=0.004, at=64, rate=0.001), 1)


def test_beta1_and_the_weight_decay_reach_the_trials_of_optimizers_that_have_them() -> None:
    axes = {"optimizer": ["sgd", "adam", "adamw"], "learning_rate": [0.01, 0.1]}
    held = {"weight_decay": DECAY.model_dump(), "beta1": {"value": 0.9, "at": 8}}
    found = {
        (trial.global_batch, trial.optimizer): (trial.beta1, trial.weight_decay, trial.decay_per_update)
        for trial in expanded(study(**held, axes=axes), rows=16)
    }
    small, large = (pytest.approx(beta, rel=1e-12) for beta in (0.9, 0.81))
    assert found == {
        (8, "sgd"): (None, None, None),
        (16, "sgd"): (None, None, None),
        (8, "adam"): (small, None, None),
        (16, "adam"): (large, None, None),
        (8, "adamw"): (small, None, decay_per_update(DECAY, 8)),
        (16, "adamw"): (large, None, decay_per_update(DECAY, 16)),
    }
    plain = {"optimizer": "adamw"}
    assert {trial.weight_decay for trial in expanded(study(weight_decay=0, axes=plain))} == {0.0}
    untouched = expanded(study(axes=plain))
    assert {(trial.beta1, trial.weight_decay, trial.decay_per_update) for trial in untouched} == {(None, None, None)}


def test_axes_of_settings_are_crossed_with_the_optimizers_that_have_them() -> None:
    first = {"value": 0.9, "at": 8}
    axes: dict[str, Any] = {
        "optimizer": ["sgd", "adam", "adamw"],
        "beta1": ["fixed", first],
        "weight_decay": [0, DECAY.model_dump()],
    }
    found = expanded(study(axes=axes), rows=16)
    names = {
        optimizer: list(dict.fromkeys(trial.settings for trial in found if trial.optimizer == optimizer))
        for optimizer in axes["optimizer"]
    }
    decay = f"weight_decay {DECAY.value:g} at {DECAY.at}, rate {DECAY.rate:g}"
    assert names == {
        "sgd": [None],
        "adam": ["beta1 fixed", "beta1 0.9 at 8"],
        "adamw": [
            f"{one}, {other}" for one in ("beta1 fixed", "beta1 0.9 at 8") for other in ("weight_decay 0", decay)
        ],
    }
    assert len({trial.trial_id for trial in found}) == len(found)
    assert len(found) == 7 * len({(trial.global_batch, trial.learning_rate, trial.seed) for trial in found})
    held = [trial for trial in found if trial.settings == f"beta1 0.9 at 8, {decay}"]
    assert {trial.global_batch: (trial.beta1, trial.decay_per_update) for trial in held} == {
        8: (pytest.approx(0.9), decay_per_update(DECAY, 8)),
        16: (pytest.approx(0.81), decay_per_update(DECAY, 16)),
    }


def test_an_average_reaches_every_trial() -> None:
    assert {trial.average_examples for trial in expanded(study())} == {None}
    assert {trial.average_examples for trial in expanded(study(average={"examples": 50}))} == {50}

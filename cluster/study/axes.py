"""The trials of a study: the cross product of its axes, with `full` and the learning-rate rule resolved.

The order is the first seed of every point, then the second seed of every point, and so on. With n seeds, the whole
range of global batches has been covered after an n-th of the time, and a study stopped early (money, patience) has
compared all points equally often. Within one seed the dtype changes slowest and the learning rate fastest, because a
change of dtype makes a worker trace its functions again, and a change of rate costs nothing.
"""

import math
from itertools import product
from typing import Any, Literal

from cluster.study.forms import FULL
from cluster.study.rules import DecayPerExample, HalfLife, RateRule
from cluster.study.spec import StudySpec
from trainer.errors import InputError
from trainer.trial import WITH_BETAS, WITH_DECAY, TrialSpec

_EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
# Closer to 1 than this, the bias correction of Adam's first updates, 1 - beta2**n in float32, is off by over 3 %.
_LEAST_FORGOTTEN = 1e-6
# A fraction of a weight is rounded when float32 subtracts it: 1e-7 to 0.96 of itself on average, 6e-8 to 1.4, and less
# than 3e-8 to nothing.
_LEAST_DECAYED = 1e-7


def trials(spec: StudySpec, *, data_hash: str, train_rows: int) -> tuple[TrialSpec, ...]:
    """The trials of `spec` on the data `data_hash`, whose train split has `train_rows` rows.

    Raises:
        InputError: a global batch is larger than the split, `full` is also listed as a number, or the learning-rate
            rule, a beta or the weight decay leaves the range of a float.
    """
    rows_of = _rows(spec.axes.global_batch, train_rows)
    betas_at = {rows: {"beta1": beta1(spec.beta1, rows), "beta2": beta2(spec.beta2, rows)} for rows in rows_of.values()}
    decay_at = {rows: _decay(spec, rows) for rows in rows_of.values()}
    rates_at = {rows: rates(spec.axes.learning_rate, rows) for rows in rows_of.values()}
    model = spec.model.model_spec()
    return tuple(
        TrialSpec(
            data_hash=data_hash,
            task=spec.task,
            model=model,
            global_batch=rows_of[written],
            learning_rate=rate,
            optimizer=optimizer,
            dtype=dtype,
            seed=seed,
            budget=spec.budget_at(written),
            evaluate_every=spec.evaluate_every,
            clip_norm=spec.clip_norm,
            window_rows=spec.shuffle.window_rows if spec.shuffle else None,
            schedule=spec.schedule,
            warmup_examples=spec.warmup.examples if spec.warmup else 0,
            average_examples=spec.average.examples if spec.average else None,
            **(betas_at[rows_of[written]] if optimizer in WITH_BETAS else {}),
            **(decay_at[rows_of[written]] if optimizer in WITH_DECAY else {}),
        )
        for seed, dtype, optimizer, written in product(
            spec.axes.seeds, spec.axes.dtype, spec.axes.optimizer, spec.axes.global_batch
        )
        for rate in rates_at[rows_of[written]]
    )


def rates(axis: tuple[float, ...] | RateRule, global_batch: int) -> tuple[float, ...]:
    """The learning rates tried at `global_batch`: in the order listed or, for a rule, rising.

    Raises:
        InputError: the rule gives a rate that is zero, infinite or the same as another.
    """
    if not isinstance(axis, RateRule):
        return axis
    scale = (global_batch / (axis.at or global_batch)) ** _EXPONENTS[axis.rule]
    middle = (axis.points - 1) / 2
    try:
        grid = [axis.around * scale * axis.factor ** (point - middle) for point in range(axis.points)]
    except OverflowError:
        grid = [math.inf]
    found = tuple(_twelve_digits(rate) for rate in grid)
    if not all(0 < rate < math.inf for rate in found) or len(set(found)) < len(found):
        raise InputError(
            f"axes.learning_rate: {axis.points} rates of factor {axis.factor:g} around {axis.around:g} are not "
            f"{axis.points} different positive numbers at global batch {global_batch}: change points or factor"
        )
    return found


def beta1(rule: HalfLife | Literal["fixed"], global_batch: int) -> float | None:
    """Adam's beta1 at `global_batch`; None for the optimizer's own.

    It is `value ** (global_batch / at)`, so that the momentum averages the gradients of equally many examples at any
    global batch (Malladi et al. 2022, arXiv:2205.10287: 1 - beta1 grows like the batch, to which this is equal as long
    as it is small).

    Raises:
        InputError: beta1 is too close to 1.
    """
    return _beta("beta1", rule, global_batch)


def beta2(rule: HalfLife | Literal["fixed"], global_batch: int) -> float | None:
    """Adam's beta2 at `global_batch`; None for the optimizer's own.

    It is `value ** (global_batch / at)`, so that the squared gradients of equally many examples are averaged at any
    global batch (Marek et al. 2025, arXiv:2507.07101; there .95 at 512 is .9999 at 1).

    Raises:
        InputError: beta2 is too close to 1.
    """
    return _beta("beta2", rule, global_batch)


def decay_per_update(rule: DecayPerExample, global_batch: int) -> float:
    """The fraction that an update of `global_batch` rows takes off every weight at the full learning rate.

    A weight without a gradient is left `(1 - rate * value) ** (examples / at)` of itself after equally many examples at
    any global batch and learning rate; a schedule shapes the decay as it does the rate. As long as the fraction is
    small, this holds global batch / (rate * weight_decay): the examples over which AdamW averages its updates (Wang and
    Aitchison 2024, arXiv:2405.13698; Bergsma et al. 2025, arXiv:2505.13738, find it best over global batches).

    Raises:
        InputError: float32 would round the decay away.
    """
    fraction = _twelve_digits(-math.expm1(math.log1p(-rule.value * rule.rate) * global_batch / rule.at))
    if fraction < _LEAST_DECAYED:
        raise InputError(
            f"weight_decay: {rule.value:g} at global batch {rule.at} takes {fraction:.1g} off a weight in an update of "
            f"{global_batch} rows, which float32 rounds away: give a higher value or rate, or weight_decay: 0"
        )
    return fraction


def _decay(spec: StudySpec, global_batch: int) -> dict[str, Any]:
    """The fields of a trial for the study's weight decay."""
    if spec.weight_decay == "fixed":
        return {}
    if isinstance(spec.weight_decay, float):
        return {"weight_decay": spec.weight_decay}
    return {"decay_per_update": decay_per_update(spec.weight_decay, global_batch)}


def _beta(key: str, rule: HalfLife | Literal["fixed"], global_batch: int) -> float | None:
    if rule == "fixed":
        return None
    # Twelve digits of the part that is forgotten in an update, which may be very small.
    forgotten = _twelve_digits(-math.expm1(math.log(rule.value) * global_batch / rule.at))
    if forgotten < _LEAST_FORGOTTEN:
        raise InputError(
            f"{key}: {rule.value:g} at global batch {rule.at} is 1 - {forgotten:.1g} at {global_batch}, too close to 1 "
            f"for float32: give a lower value, or an `at` closer to {global_batch}"
        )
    return 1 - forgotten


def _twelve_digits(number: float) -> float:
    """A number of a trial's identity without its last digits, in which `pow` may differ between machines."""
    return float(f"{number:.12g}")


def _rows(batches: tuple[int | str, ...], train_rows: int) -> dict[int | str, int]:
    """The number of rows of each global batch, by the form in which it is written."""
    for batch in batches:
        if isinstance(batch, int) and batch > train_rows:
            raise InputError(
                f"axes.global_batch: {batch} is more than the {train_rows} rows of the train split: "
                f"give at most {train_rows}, or {FULL}"
            )
    if FULL in batches and train_rows in batches:
        raise InputError(
            f"axes.global_batch: {FULL} and {train_rows} are the same, the train split has {train_rows} rows: "
            "remove one of the two"
        )
    return {batch: train_rows if batch == FULL else int(batch) for batch in batches}

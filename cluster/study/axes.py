"""The trials of a study: the cross product of its axes, with `full` and the learning-rate rule resolved.

The order is the first seed of every point, then the second seed of every point, and so on. With n seeds, the whole
range of global batches has been covered after an n-th of the time, and a study stopped early (money, patience) has
compared all points equally often. Within one seed the dtype changes slowest and the learning rate fastest, because a
change of dtype makes a worker trace its functions again, and a change of rate costs nothing.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from cluster.study.forms import FULL, LEAST_FLOAT32, MOST_FLOAT32
from cluster.study.rules import DecayPerExample, HalfLife, RateRule
from cluster.study.spec import StudySpec
from trainer.errors import InputError
from trainer.order.plan import total_updates
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
    _check_warmup(spec, rows_of, train_rows)
    rates_at = {rows: rates(spec.axes.learning_rate, rows) for rows in rows_of.values()}
    model = spec.model.model_spec()
    return tuple(
        TrialSpec(
            data_hash=data_hash,
            task=spec.task,
            model=model,
            global_batch=rows_of[written],
            learning_rate=rate,
            optimizer=setting.optimizer,
            dtype=dtype,
            seed=seed,
            budget=spec.budget_at(written),
            evaluate_every=spec.evaluate_every,
            clip_norm=spec.clip_norm,
            window_rows=spec.shuffle.window_rows if spec.shuffle else None,
            schedule=spec.schedule,
            warmup_examples=spec.warmup.examples if spec.warmup else 0,
            average_examples=spec.average.examples if spec.average else None,
            **setting.at(rows_of[written]),
        )
        for seed, dtype, setting, written in product(
            spec.axes.seeds, spec.axes.dtype, settings_of(spec), spec.axes.global_batch
        )
        for rate in rates_at[rows_of[written]]
    )


@dataclass(frozen=True, kw_only=True)
class OptimizerVariant:
    """An optimizer with one value of each setting that it has; `axes` names those that are on an axis."""

    optimizer: str
    beta1: HalfLife | Literal["fixed"]
    beta2: HalfLife | Literal["fixed"]
    weight_decay: DecayPerExample | float | Literal["fixed"]
    axes: tuple[str, ...]

    @property
    def name(self) -> str | None:
        """The values on axes in words, such as `weight_decay 0.01`; None without such axes."""
        return ", ".join(f"{axis} {_said(getattr(self, axis))}" for axis in self.axes) or None

    def at(self, global_batch: int) -> dict[str, Any]:
        """The fields of a trial with this global batch."""
        fields: dict[str, Any] = {"settings": self.name}
        if self.optimizer in WITH_BETAS:
            fields |= {"beta1": beta1(self.beta1, global_batch), "beta2": beta2(self.beta2, global_batch)}
        return fields | (_decay(self.weight_decay, global_batch) if self.optimizer in WITH_DECAY else {})


def settings_of(spec: StudySpec) -> tuple[OptimizerVariant, ...]:
    """The optimizers of a spec, each with all values of the axes that it has."""
    found = []
    for optimizer in spec.axes.optimizer:
        first = spec.axes.beta1 if optimizer in WITH_BETAS else None
        decays = spec.axes.weight_decay if optimizer in WITH_DECAY else None
        axes = tuple(name for name, axis in (("beta1", first), ("weight_decay", decays)) if axis is not None)
        found += [
            OptimizerVariant(optimizer=optimizer, beta1=one, beta2=spec.beta2, weight_decay=decay, axes=axes)
            for one, decay in product(first or (spec.beta1,), decays or (spec.weight_decay,))
        ]
    return tuple(found)


def _said(value: HalfLife | DecayPerExample | float | str) -> str:
    """A value on an axis of settings, such as `0.004 at 32, rate 0.001`."""
    if isinstance(value, DecayPerExample):
        return f"{value.value:g} at {value.at}, rate {value.rate:g}"
    if isinstance(value, HalfLife):
        return f"{value.value:g} at {value.at}"
    return value if isinstance(value, str) else f"{value:g}"


def rates(axis: tuple[float, ...] | RateRule, global_batch: int) -> tuple[float, ...]:
    """The learning rates tried at `global_batch`: in the order listed or, for a rule, rising.

    Raises:
        InputError: the rule gives a rate that is zero, infinite or the same as another.
    """
    if not isinstance(axis, RateRule):
        return _distinct(axis)
    scale = (global_batch / (axis.at or global_batch)) ** _EXPONENTS[axis.rule]
    middle = (axis.points - 1) / 2
    try:
        grid = [axis.around * scale * axis.factor ** (point - middle) for point in range(axis.points)]
    except OverflowError:
        grid = [math.inf]
    found = tuple(_twelve_digits(rate) for rate in grid)
    if not all(LEAST_FLOAT32 <= rate <= MOST_FLOAT32 for rate in found):
        raise InputError(
            f"axes.learning_rate: {axis.points} rates of factor {axis.factor:g} around {axis.around:g} are not all "
            f"numbers that a float32 can hold at global batch {global_batch}: change points, factor or at"
        )
    return _distinct(found)


def _distinct(rates: tuple[float, ...]) -> tuple[float, ...]:
    """The rates, if training in float32 can tell them apart.

    Raises:
        InputError: two are one number in float32.
    """
    seen: dict[float, float] = {}
    for rate in rates:
        other = seen.setdefault(float(np.float32(rate)), rate)
        if other is not rate:
            raise InputError(f"axes.learning_rate: {other!r} and {rate!r} are the same rate in float32: remove one")
    return rates


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


def _decay(rule: DecayPerExample | float | Literal["fixed"], global_batch: int) -> dict[str, Any]:
    """The fields of a trial for a weight decay."""
    if isinstance(rule, DecayPerExample):
        return {"decay_per_update": decay_per_update(rule, global_batch)}
    return {} if rule == "fixed" else {"weight_decay": rule}


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


def _check_warmup(spec: StudySpec, rows_of: dict[int | str, int], train_rows: int) -> None:
    """Refuse a warm-up that is longer than a trial, which would never have the learning rate that its row names."""
    for written, rows in rows_of.items():
        updates = total_updates(spec.budget_at(written), global_batch=rows, rows=train_rows)
        if spec.warmup and updates is not None and spec.warmup.examples > updates * rows:
            raise InputError(
                f"warmup.examples is {spec.warmup.examples}, but a trial at global batch {written} uses only "
                f"{updates * rows}, so it would never reach its learning rate: give less, or a longer budget"
            )


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

"""What a study is: its YAML file as a `StudySpec`, with every value checked before anything is started.

Relative `data` and `summary` folders are relative to the current directory, as on any command line, not to the file. A
scalar may be written where a list is meant. A budget is one duration for all global batches, or one for each:

    budget: {epochs: 10}
    budget:
      16: {epochs: 15}
      160: {epochs: 150}
      full: {epochs: 1500}
"""

import os
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    model_validator,
)

from cluster.study import forms, reading, rules, target
from cluster.study.chosen_rates import Choices
from cluster.study.models import BuiltInModel, FactoryModel, chosen
from cluster.study.reading import Strict
from cluster.study.resources import Resources
from cluster.study.rules import Average, Axis, DecayPerExample, HalfLife, Protocol, Rate, RateRule, Shuffle, WarmUp
from cluster.study.seeds import SCREEN_SEEDS
from trainer.trial import DTYPES, OPTIMIZERS, SCHEDULES, TASKS, WITH_BETAS, WITH_DECAY, Duration

# Keras takes 32-bit seeds, which are signed in some places.
_LARGEST_SEED = 2**31 - 1
# With fewer rates, every best rate is at an edge.
_FEWEST_RATES = 3

Task = Annotated[str, BeforeValidator(forms.one_of(TASKS))]
Optimizer = Annotated[str, BeforeValidator(forms.one_of(OPTIMIZERS))]
Dtype = Annotated[str, BeforeValidator(forms.one_of(DTYPES))]
GlobalBatch = Annotated[int | str, BeforeValidator(forms.global_batch)]
Beta1 = Annotated[HalfLife | Literal["fixed"], BeforeValidator(rules.half_life("{value: 0.9, at: 32}"))]
WeightDecay = Annotated[DecayPerExample | float | Literal["fixed"], BeforeValidator(rules.weight_decay)]
Seed = Annotated[int, Field(ge=0, le=_LARGEST_SEED)]
Length = Annotated[Duration, BeforeValidator(forms.duration), PlainSerializer(forms.plain_budget)]
Budget = Annotated[
    Duration | dict[int | str, Duration],
    BeforeValidator(forms.budget),
    PlainSerializer(forms.plain_budget),
]


class Axes(Strict):
    """What varies between the trials of a study."""

    global_batch: Axis[GlobalBatch] = Field(description="a list of global batches, such as [16, 17, 32, full]")
    learning_rate: Annotated[tuple[float, ...] | RateRule, BeforeValidator(rules.learning_rate)] = Field(
        description="positive rates that a float32 can hold, such as [0.001, 0.003], or {around: 0.001, at: 32, rule: "
        "sqrt}"
    )
    optimizer: Axis[Optimizer] = Field(default=("adam",), description=f"a list of {', '.join(OPTIMIZERS)}")
    dtype: Axis[Dtype] = Field(default=("float32",), description=f"a list of {', '.join(DTYPES)}")
    beta1: Axis[Beta1] | None = Field(default=None, description="a list such as [fixed, {value: 0.9, at: 32}]")
    weight_decay: Axis[WeightDecay] | None = Field(
        default=None, description="a list such as [0, 0.01, {value: 0.004, at: 32, rate: 0.001}]"
    )
    seeds: Annotated[Axis[Seed], BeforeValidator(forms.seeds)] = Field(
        description=f"the number of seeds, such as 5, or a list of seeds from 0 to {_LARGEST_SEED}"
    )


class ValidationLoss(Strict):
    """A validation loss, or a difference between two."""

    validation_loss: Rate = Field(description="a positive number that a float32 can hold")


def _target(value: object) -> object:
    if value is None or value == "auto" or isinstance(value, ValidationLoss):
        return value
    if isinstance(value, dict):
        return ValidationLoss.model_validate(value)
    raise ValueError("give auto or {validation_loss: 0.6}")


class StudySpec(Strict):
    """One study: a data set, a model, axes and a budget."""

    study: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$",
        description="a name of 1 to 64 letters, digits and '-' that does not begin with '-', such as wiki-topics (a "
        "number in quotes)",
    )
    description: str | None = Field(
        default=None, min_length=1, max_length=2000, description="why it is run, in at most 2000 characters"
    )
    tags: Annotated[tuple[str, ...], BeforeValidator(forms.tags)] = ()
    data: str = Field(min_length=1, description="the folder or s3:// address of prepared data")
    summary: str = Field(default="./summary", min_length=1, description="a folder or s3:// address")
    task: Task = Field(description=f"one of {', '.join(TASKS)}")
    model: Annotated[BuiltInModel | FactoryModel, BeforeValidator(chosen)] = BuiltInModel()
    axes: Axes = Field(description="its keys, such as {global_batch: [16, 32], learning_rate: 0.001, seeds: 3}")
    budget: Budget = Field(description="the length of each trial, such as {epochs: 10}")
    evaluate_every: Length = Duration(unit="epochs", amount=1.0)
    schedule: Annotated[str, BeforeValidator(forms.one_of(SCHEDULES))] = "constant"
    warmup: WarmUp | None = Field(default=None, description="{examples: 10000}, or leave it out")
    beta1: Beta1 = "fixed"
    beta2: Annotated[HalfLife | Literal["fixed"], BeforeValidator(rules.half_life("{value: 0.999, at: 32}"))] = "fixed"
    weight_decay: WeightDecay = "fixed"
    average: Average | None = Field(default=None, description="{examples: 50000}, or leave it out")
    clip_norm: Rate | None = Field(
        default=None, description="a positive number that a float32 can hold, or leave it out"
    )
    target: Annotated[ValidationLoss | Literal["auto"] | None, BeforeValidator(_target)] = None
    margin: ValidationLoss | None = Field(default=None, description="{validation_loss: 0.01}, or leave it out")
    shuffle: Shuffle | None = Field(
        default=None, description="{window_rows: 500000}, or leave it out to shuffle all rows"
    )
    protocol: Protocol | None = Field(
        default=None, description="{screen_seeds: 1} to tune the learning rate first, or leave it out for a plain grid"
    )
    resources: Resources = Field(default=Resources(), description="its keys, such as {workers: 1, lanes: 2}")
    checkpoint_every_seconds: float = Field(
        default=60.0, ge=0.001, le=1e9, description="a positive number of seconds from 0.001 to 1e9"
    )

    @model_validator(mode="after")
    def _budget_for_each_batch(self) -> Self:
        if isinstance(self.budget, Duration):
            return self
        for batch in self.axes.global_batch:
            if batch not in self.budget:
                raise ValueError(f"budget has nothing for global batch {batch}: add `{batch}: {{epochs: 10}}` to it")
        for batch in self.budget:
            if batch not in self.axes.global_batch:
                raise ValueError(
                    f"budget is for global batch {batch}, which axes.global_batch does not list: remove it, or list it"
                )
        return self

    @model_validator(mode="after")
    def _no_foresight(self) -> Self:
        if self.task == "language_model" and isinstance(self.model, BuiltInModel) and self.model.bidirectional:
            raise ValueError(
                "model.bidirectional is true, but task language_model predicts the next token, which a backward LSTM "
                "has already read: set bidirectional: false"
            )
        return self

    @model_validator(mode="after")
    def _optimizers_that_use_them(self) -> Self:
        for key, having in (("beta1", WITH_BETAS), ("beta2", WITH_BETAS), ("weight_decay", WITH_DECAY)):
            if getattr(self, key) != "fixed" and not set(self.axes.optimizer) & set(having):
                raise ValueError(
                    f"{key} is for {' and '.join(having)}, but axes.optimizer lists none of them: list one, or remove "
                    f"{key}"
                )
        return self

    @model_validator(mode="after")
    def _axes_of_settings(self) -> Self:
        for key, having in (("beta1", WITH_BETAS), ("weight_decay", WITH_DECAY)):
            if getattr(self.axes, key) is None:
                continue
            if getattr(self, key) != "fixed":
                raise ValueError(f"{key} and axes.{key} are both given: put all its values on the axis")
            if not set(self.axes.optimizer) & set(having):
                raise ValueError(
                    f"axes.{key} is for {' and '.join(having)}, but axes.optimizer lists none of them: list one, or "
                    f"remove axes.{key}"
                )
        return self

    @model_validator(mode="after")
    def _end_of_a_decay(self) -> Self:
        budgets = self.budget.values() if isinstance(self.budget, dict) else [self.budget]
        if self.schedule != "constant" and any(budget.unit == "seconds" for budget in budgets):
            raise ValueError(
                f"schedule {self.schedule} decays towards the end of the budget, which is not known for a budget in "
                "seconds: give the budget in epochs, or schedule: constant"
            )
        return self

    @model_validator(mode="after")
    def _window_of_a_batch(self) -> Self:
        # `full` is all rows in any order, so no window changes it.
        largest = max((batch for batch in self.axes.global_batch if isinstance(batch, int)), default=0)
        if self.shuffle and self.shuffle.window_rows < largest:
            raise ValueError(
                f"shuffle.window_rows is {self.shuffle.window_rows}, less than the global batch {largest}, whose rows "
                f"would then come from few places: give at least {largest}, or remove shuffle"
            )
        return self

    @model_validator(mode="after")
    def _target_to_stop_at(self) -> Self:
        if self.protocol and self.protocol.stop_at_target and self.target is None:
            raise ValueError(
                "protocol.stop_at_target needs a target: add target: auto, or such as target: {validation_loss: 0.6}"
            )
        return self

    @model_validator(mode="after")
    def _rates_to_tune(self) -> Self:
        rates = self.axes.learning_rate
        points = rates.points if isinstance(rates, RateRule) else len(rates)
        if self.protocol and points < _FEWEST_RATES:
            raise ValueError(
                f"protocol tunes the learning rate among those of axes.learning_rate, which has {points}: give at "
                f"least {_FEWEST_RATES}, such as {{around: 0.001, at: 32, rule: sqrt, points: 5}}, or remove protocol"
            )
        if self.protocol and isinstance(rates, tuple) and list(rates) != sorted(rates):
            raise ValueError(
                "protocol adds rates beyond the lowest and the highest: list axes.learning_rate in rising order"
            )
        budgets = self.budget.values() if isinstance(self.budget, dict) else [self.budget]
        if self.protocol and self.protocol.stop_early and any(budget.unit == "seconds" for budget in budgets):
            raise ValueError(
                "protocol.stop_early compares rates at equal examples, which are not known for a budget in seconds: "
                "give the budget in epochs, or remove stop_early"
            )
        return self

    @model_validator(mode="after")
    def _seeds_of_the_screen(self) -> Self:
        taken = next((seed for seed in self.axes.seeds if seed in SCREEN_SEEDS), None)
        if self.protocol and taken is not None:
            raise ValueError(
                f"axes.seeds has {taken}, but protocol tunes the learning rate on the seeds {SCREEN_SEEDS[0]} to "
                f"{SCREEN_SEEDS[-1]}, and confirms it on others: give other seeds, such as 0 to 4"
            )
        return self

    def target_after(self, choices: Choices) -> float | None:
        """The target's validation loss, given what the screen chose; None where there is none."""
        if isinstance(self.target, ValidationLoss):
            return self.target.validation_loss
        margin = self.margin.validation_loss if self.margin else None
        return target.automatic(choices, margin) if self.target == "auto" else None

    def budget_at(self, global_batch: int | str) -> Duration:
        """The budget of the trials with this global batch, given as `axes.global_batch` lists it."""
        return self.budget if isinstance(self.budget, Duration) else self.budget[global_batch]


def parse(text: str, *, where: str) -> StudySpec:
    """The study in the YAML `text`; `where` names it in errors.

    Raises:
        InputError: the text is not a study; one line for each problem, with its place, value and remedy.
    """
    return reading.read(StudySpec, text, where=where)


def load(path: str | os.PathLike[str]) -> StudySpec:
    """The study in the YAML file at `path`.

    Raises:
        InputError: there is no such file, or it is not a study.
    """
    return reading.load(StudySpec, path, kind="a study")

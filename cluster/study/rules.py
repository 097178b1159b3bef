"""The keys of a study that are rules: numbers that follow the global batch, shuffle, warm-up and protocol."""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from cluster.study import forms
from cluster.study.chosen_rates import FITTED, RULES, Choices, Rule
from cluster.study.looks import AUTO, FEWEST_PAIRS, NONE, Looks, looks_of
from cluster.study.reading import Strict
from cluster.study.seeds import SCREEN_SEEDS

# A screen on `auto` seeds: at most so many, and repeated where noise is over this part of the margin.
MOST_SCREEN_SEEDS = 2
NOISE_OF_MARGIN = 0.25

Rate = Annotated[float, Field(ge=forms.LEAST_FLOAT32, le=forms.MOST_FLOAT32)]
Rows = Annotated[int, Field(ge=1, le=forms.MOST_ROWS)]
Value = TypeVar("Value")
Axis = Annotated[
    tuple[Value, ...],
    BeforeValidator(forms.listed),
    AfterValidator(forms.distinct),
    Field(min_length=1),
]


class RateRule(Strict):
    """Learning rates that follow the global batch: `around` at the batch `at`, scaled by `rule` elsewhere.

    With `points` above 1, a geometric grid of ratio `factor` is centred there. The rule `none` scales nothing.
    """

    around: Rate = Field(description="a positive learning rate, such as 0.001")
    at: Rows | None = Field(default=None, description="the global batch at which the rate is `around`, such as 32")
    rule: Annotated[Literal["sqrt", "linear", "none"], BeforeValidator(forms.one_of(["sqrt", "linear", "none"]))] = (
        Field(description="sqrt, linear or none")
    )
    points: int = Field(default=1, ge=1, le=100, description="a whole number of rates from 1 to 100")
    factor: float = Field(
        default=3.0, ge=1.001, le=1e6, description="the ratio between neighbouring rates, from 1.001 to 1e6, such as 3"
    )

    @model_validator(mode="after")
    def _has_its_batch(self) -> Self:
        if self.rule != "none" and self.at is None:
            raise ValueError(f"add `at`, the global batch from which rule {self.rule} starts, such as at: 32")
        return self


_RATES: TypeAdapter[tuple[float, ...]] = TypeAdapter(Axis[Rate], config=ConfigDict(strict=True, allow_inf_nan=False))


class HalfLife(Strict):
    """A beta of Adam with a half-life of equally many examples at every global batch: `value` at the batch `at`."""

    value: float = Field(gt=0, lt=1, description="a number between 0 and 1, such as 0.999")
    at: Rows = Field(description="the global batch at which it is `value`, such as 32")


class DecayPerExample(Strict):
    """A weight decay that takes the same fraction off every weight for an example, at any global batch and rate.

    It is that of `weight_decay: value` at the global batch `at` and the learning rate `rate`.
    """

    value: Rate = Field(description="a positive number, such as 0.004")
    at: Rows = Field(description="the global batch at which weight_decay is `value`, such as 32")
    rate: Rate = Field(description="the learning rate at which weight_decay is `value`, such as 0.001")

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.value * self.rate >= 1:
            raise ValueError(f"value times rate is {self.value * self.rate:g}, of which nothing is left: give less")
        return self


def half_life(example: str) -> Callable[[object], object]:
    """A check for `fixed`, or a HalfLife's keys; `example` is one in the remedy."""

    def check(value: object) -> object:
        if value == "fixed" or isinstance(value, HalfLife):
            return value
        if isinstance(value, dict):
            return HalfLife.model_validate(value)
        raise ValueError(f"give fixed or {example}")

    return check


def weight_decay(value: object) -> object:
    """`fixed`, a number, or a DecayPerExample's keys."""
    if value == "fixed" or isinstance(value, DecayPerExample):
        return value
    if isinstance(value, dict):
        return DecayPerExample.model_validate(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= forms.MOST_FLOAT32:
        return value
    raise ValueError("give fixed, a number from 0, or {value: 0.004, at: 32, rate: 0.001}")


def learning_rate(value: object) -> object:
    """Rates as a list or one number, or a RateRule's keys."""
    if isinstance(value, RateRule):
        return value
    if isinstance(value, dict):
        return RateRule.model_validate(value)
    return _RATES.validate_python(value)


class Shuffle(Strict):
    """A shuffle within windows, for data sets larger than a machine's cache (`trainer.order.window`)."""

    window_rows: Rows = Field(description="a whole number of rows from 1 to 2**53, such as 500000")


class WarmUp(Strict):
    """A learning rate that rises from 0 over the first examples (`trainer.update.schedule`)."""

    examples: Rows = Field(description="a whole number of examples from 1 to 2**53, such as 10000")


class Average(Strict):
    """An average of the weights, scored at every evaluation besides the weights themselves (`trainer.averaged`)."""

    examples: Rows = Field(description="a whole number of examples from 1 to 2**53, such as 50000")


def when_to_look(value: object) -> object:
    """`auto`, `none`, or the numbers of seeds after which to look, rising."""
    if value in (AUTO, NONE):
        return value
    numbers = forms.listed(value)
    if all(type(one) is int and FEWEST_PAIRS <= one <= forms.MOST_SEEDS for one in numbers) and list(numbers) == sorted(
        set(numbers)
    ):
        return numbers
    raise ValueError(
        f"give auto, none, or rising numbers of seeds from {FEWEST_PAIRS} to {forms.MOST_SEEDS}, such as [5, 7, 10]"
    )


def screening_seeds(value: object) -> object:
    """`auto`, or how many seeds compare the rates."""
    if value == AUTO or (type(value) is int and 1 <= value <= len(SCREEN_SEEDS)):
        return value
    raise ValueError(f"give auto, or a whole number of seeds from 1 to {len(SCREEN_SEEDS)}")


class Protocol(Strict):
    """The learning rate tuned inside each global batch, then confirmed on fresh seeds (`cluster.study.protocol`)."""

    rates: Annotated[Rule, BeforeValidator(forms.one_of(RULES))] = Field(
        default=FITTED, description="fitted, for rates between those tried, or best_of_grid"
    )
    looks: Annotated[str | tuple[int, ...], BeforeValidator(when_to_look)] = Field(
        default=AUTO, description="auto, none for all seeds at once, or numbers of seeds, such as [5, 7, 10]"
    )
    screen_seeds: Annotated[int | Literal["auto"], BeforeValidator(screening_seeds)] = Field(
        default="auto", description=f"auto, or a whole number of seeds from 1 to {len(SCREEN_SEEDS)}"
    )
    extensions: int = Field(default=2, ge=0, le=10, description="how often rates are added beyond an edge, 0 to 10")
    stop_early: bool = Field(
        default=False, description="true to stop rates that fall behind others of the same global batch"
    )
    stop_at_target: bool = Field(
        default=False, description="true to end a confirmation once it has reached the study's target"
    )

    @property
    def fewest_screen_seeds(self) -> int:
        """The seeds that the screen has in any case."""
        return 1 if self.screen_seeds == "auto" else self.screen_seeds

    @property
    def most_screen_seeds(self) -> int:
        """The seeds that the screen has if runs are noisy, which a fit tells."""
        return MOST_SCREEN_SEEDS if self.screen_seeds == "auto" and self.rates == FITTED else self.fewest_screen_seeds

    def screens_again(self, seeds: int, choices: Choices, margin: float | None) -> bool:
        """Whether a screen on so many seeds, with these choices, is repeated on another one.

        It is where losses, as means over the seeds, deviate from their fitted curves by more than NOISE_OF_MARGIN of
        the margin. Then the rate of a batch size may be chosen so badly that it looks worse than it is.
        """
        return seeds < self.most_screen_seeds and margin is not None and choices.deviation > NOISE_OF_MARGIN * margin

    def looks_at(self, most: int) -> Looks:
        """The looks of a study with so many seeds; runs that stop at the target have no losses to look at."""
        return looks_of(NONE if self.stop_at_target else self.looks, most)

    def looks_late(self, seeds: Mapping[int, int], declared: Collection[int]) -> tuple[int, ...]:
        """The confirming seeds, by seed of the axis, that came too late for the looks; none before they were declared.

        They are confirmed, and shown, but no look was declared with them.
        """
        if not declared or self.stop_at_target or self.looks == NONE:
            return ()
        return tuple(confirming for seed, confirming in seeds.items() if seed not in declared)

    @model_validator(mode="after")
    def _rates_that_are_fitted(self) -> Self:
        if self.stop_early and self.rates == FITTED:
            raise ValueError(
                "stop_early ends trials that rates: fitted needs: add rates: best_of_grid, or remove stop_early"
            )
        return self

"""A trial: everything that changes its numbers, and the `trial_id`, which is a hash of that.

Workers, micro-batches, threads and the machine change only the speed, so they are no part of it.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

TASKS = ("classification", "regression", "language_model")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "lion", "muon")
WITH_BETAS = ("adam", "adamw")
# Those that decay weights apart from the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101).
WITH_DECAY = ("adamw", "lion", "muon")
DTYPES = ("float32", "float64", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("constant", "linear", "cosine")
DURATION_UNITS = ("epochs", "examples", "updates", "seconds")

# The fields that were added later, with the values at which a trial keeps the identity that it had before.
_ADDED = {
    "window_rows": None,
    "schedule": "constant",
    "warmup_examples": 0,
    "stop_at_loss": None,
    "beta2": None,
    "beta1": None,
    "weight_decay": None,
    "decay_per_update": None,
    "average_examples": None,
    "settings": None,
}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The built-in LSTM, or, with `factory` ("module:function"), the user's own `keras.Model`."""

    embedding_units: int = 64
    lstm_units: int = 128
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    factory: str | None = None


@dataclass(frozen=True, kw_only=True)
class Duration:
    """A length of training: `amount` of `unit` (one of DURATION_UNITS)."""

    unit: str
    amount: float


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One point of the axes with one seed, on one data set: everything that changes a trial's numbers.

    `global_batch` is a number of rows (`full` has been resolved). `clip_norm` bounds the global norm of the whole
    gradient; None for no bound. `window_rows` shuffles within windows (`trainer.order.window`); None shuffles the whole
    split. `schedule` (one of SCHEDULES) and `warmup_examples` shape the learning rate over the trial
    (`trainer.update.schedule`). `stop_at_loss` ends the trial before its budget, once two consecutive evaluations are
    at or below it. `beta1` and `beta2` are for an optimizer in WITH_BETAS; None for the optimizer's defaults.

    An optimizer in WITH_DECAY takes the fraction `rate * weight_decay` off every weight in an update, where the rate
    follows the schedule. `decay_per_update` is that fraction at the full rate, whatever the `learning_rate`. With
    neither of the two, the optimizer decays by its default.

    With `average_examples`, evaluations also score an average of the weights with that horizon (`trainer.averaged`).
    `settings` says which values of the axes `beta1` and `weight_decay` the trial has, where a study has these axes: a
    rule is one setting, although it gives each global batch another number.

    Raises:
        ValueError: a value that the optimizer would ignore, or two that contradict each other.
    """

    data_hash: str
    task: str
    model: ModelSpec
    global_batch: int
    learning_rate: float
    optimizer: str
    dtype: str
    seed: int
    budget: Duration
    evaluate_every: Duration
    clip_norm: float | None = None
    window_rows: int | None = None
    schedule: str = "constant"
    warmup_examples: int = 0
    stop_at_loss: float | None = None
    beta2: float | None = None
    beta1: float | None = None
    weight_decay: float | None = None
    decay_per_update: float | None = None
    average_examples: int | None = None
    settings: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would be ignored."""
        for names, having in ((("beta1", "beta2"), WITH_BETAS), (("weight_decay", "decay_per_update"), WITH_DECAY)):
            for name in names:
                if getattr(self, name) is not None and self.optimizer not in having:
                    raise ValueError(f"optimizer {self.optimizer} has no {name}")
        if self.weight_decay is not None and self.decay_per_update is not None:
            raise ValueError("weight_decay and decay_per_update are both given, and would contradict each other")

    @cached_property
    def trial_id(self) -> str:
        """16 hexadecimal digits of the sha256 of this spec's canonical JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name, default in _ADDED.items():
            if fields[name] == default:
                # A trial that does not use a field keeps the identity that it had before the field was added.
                del fields[name]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=vars)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_dict(fields: dict[str, Any]) -> TrialSpec:
    """The inverse of `dataclasses.asdict(trial)`."""
    return TrialSpec(
        **{
            **fields,
            "model": ModelSpec(**fields["model"]),
            "budget": Duration(**fields["budget"]),
            "evaluate_every": Duration(**fields["evaluate_every"]),
        }
    )

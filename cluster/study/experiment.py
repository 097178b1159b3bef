"""`COLUMNS`: what makes two trials of one point and seed different experiments under one study's name. Pure.

A name keeps its task, model and data (`cluster.study.identity`), but a study may be run again with another budget or
with `protocol.stop_at_target`. Results of such trials are never averaged with others: every trial's row has these
values.
"""

from collections.abc import Mapping
from typing import Any

from cluster.study import forms
from trainer.trial import Duration, TrialSpec

COLUMNS = ("budget", "evaluate_every", "clip_norm", "stop_at_loss")


def of_trial(trial: TrialSpec) -> dict[str, Any]:
    """A trial's values of COLUMNS."""
    return {
        "budget": text(trial.budget),
        "evaluate_every": text(trial.evaluate_every),
        "clip_norm": trial.clip_norm,
        "stop_at_loss": trial.stop_at_loss,
    }


def of_spec(spec: Mapping[str, Any], global_batch: int, train_rows: int | None) -> dict[str, Any]:
    """The values of COLUMNS except `stop_at_loss` that a spec gives its trials; `budget` is None if it lists none.

    `spec` holds the keys of a canonical JSON.
    """
    return {
        "budget": _budget(spec, global_batch, train_rows),
        "evaluate_every": text(forms.duration(spec["evaluate_every"])),
        "clip_norm": spec.get("clip_norm"),
    }


def stops_at_target(spec: Mapping[str, Any]) -> bool:
    """Whether the confirmations of a spec end at the target."""
    return bool((spec.get("protocol") or {}).get("stop_at_target"))


def text(duration: Duration) -> str:
    """A duration exactly, as people write it: `10 epochs`."""
    amount = repr(duration.amount).removesuffix(".0")
    return f"{amount} {duration.unit.removesuffix('s') if amount == '1' else duration.unit}"


def _budget(spec: Mapping[str, Any], global_batch: int, train_rows: int | None) -> str | None:
    budget = forms.budget(spec["budget"])
    if isinstance(budget, Duration):
        return text(budget)
    found = budget.get(global_batch)
    if found is None and train_rows in (global_batch, None):
        found = budget.get(forms.FULL)
    return None if found is None else text(found)

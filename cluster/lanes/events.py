"""What the driver hears of its trials, as data; and the one form in which Tune carries it, a result of plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.lanes.failure import Fault
from trainer.report import State
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class TrialBegan:
    """A lane has taken the trial."""

    trial: TrialSpec


@dataclass(frozen=True, kw_only=True)
class TrialEvaluated:
    """The trial was evaluated after `examples`; `cost_usd` is of the attempt so far, None where it is not known."""

    trial: TrialSpec
    examples: int
    validation_loss: float
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttemptLost:
    """The attempt lost its workers, having cost `cost_usd`; another begins from the last checkpoint."""

    trial: TrialSpec
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttemptExhausted:
    """The attempt ran out of memory, having cost `cost_usd`; another begins in smaller micro-batches."""

    trial: TrialSpec
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    """The trial ended in `state`, its last attempt having cost `cost_usd`.

    `validation_loss` is its best. `error` and `fault` say why it failed, having made `updates` in its last attempt.
    """

    trial: TrialSpec
    state: State
    examples: int = 0
    validation_loss: float | None = None
    error: str | None = None
    fault: Fault = Fault.TRIAL
    updates: int = 0
    cost_usd: float | None = None


LaneEvent = TrialEvaluated | AttemptLost | AttemptExhausted | TrialEnded
TrialEvent = TrialBegan | LaneEvent

_EVENTS: dict[str, type[LaneEvent]] = {
    "evaluated": TrialEvaluated,
    "lost": AttemptLost,
    "exhausted": AttemptExhausted,
    "ended": TrialEnded,
}
_NAMES = {event: name for name, event in _EVENTS.items()}


def to_result(event: LaneEvent) -> dict[str, Any]:
    """The event as a result of Tune, which knows the trial. Tune's schedulers compare `examples`, `validation_loss`."""
    fields = {name: value for name, value in vars(event).items() if name != "trial" and value is not None}
    return {"event": _NAMES[type(event)], **fields, "done": isinstance(event, TrialEnded)}


def of_result(trial: TrialSpec, result: Mapping[str, Any]) -> LaneEvent | None:
    """The event of a trial's result; None if it has none.

    A trial that Tune's scheduler stops is done by its last evaluation.
    """
    if "event" not in result:
        return None
    event = _EVENTS[result["event"]]
    fields = {name: result[name] for name in event.__dataclass_fields__ if name in result}
    if event is TrialEvaluated and result.get("done"):
        return TrialEnded(trial=trial, state=State.STOPPED, **fields)
    if event is TrialEnded:
        fields |= {"state": State(fields["state"]), "fault": Fault(fields["fault"])}
    return event(trial=trial, **fields)

"""The events of trials that the driver receives, and the form in which Tune carries them: results of plain values."""

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
    """The trial was evaluated after `examples`; `cost_usd` is the attempt's cost so far, None if unknown."""

    trial: TrialSpec
    examples: int
    validation_loss: float
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttemptLost:
    """The attempt lost its workers after it had cost `cost_usd`; another begins from the last checkpoint."""

    trial: TrialSpec
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttemptExhausted:
    """The attempt ran out of memory after it had cost `cost_usd`; another begins in smaller micro-batches."""

    trial: TrialSpec
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    """The trial ended in `state`; its last attempt cost `cost_usd`.

    `validation_loss` is its best. `error` and `fault` say why it failed; `updates` counts those of its last attempt.
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
    """The event as a result for Tune, without the trial. Tune's schedulers read `examples` and `validation_loss`."""
    fields = {name: value for name, value in vars(event).items() if name != "trial" and value is not None}
    return {"event": _NAMES[type(event)], **fields, "done": isinstance(event, TrialEnded)}


def of_result(trial: TrialSpec, result: Mapping[str, Any]) -> LaneEvent | None:
    """The event in a trial's result; None if there is none.

    When Tune's scheduler stops a trial, it marks the result of the last evaluation as done.
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

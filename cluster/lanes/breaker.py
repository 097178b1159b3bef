"""The breaker: whether what ended a trial would end every other one too, so that no further one is begun. Pure.

A store that cannot be reached, a full disk, a board that is dead: each trial would fail in turn, 10 to 20 seconds
apart. And what fails three trials in the same words, before any of them made an update, is no matter of the trial.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.lanes.events import TrialEnded
from cluster.lanes.failure import Fault
from trainer.report import State

IDENTICAL_AT_MOST = 3


@dataclass(frozen=True)
class Break:
    """Why no further trial is begun; `fault` is that of the trial that showed it."""

    text: str
    fault: Fault


def cause(ended: Sequence[TrialEnded]) -> Break | None:
    """Why the study is to end, by the trials that ended so far, of which the last few are enough; None to go on."""
    if not ended or ended[-1].state is not State.FAILED or ended[-1].error is None:
        return None
    newest, error = ended[-1], _without_class(ended[-1].error)
    if newest.fault in (Fault.DATA, Fault.SURROUNDINGS):
        return Break(error, newest.fault)
    last = ended[-IDENTICAL_AT_MOST:]
    fruitless = [_kind(one.error) for one in last if one.state is State.FAILED and one.error and not one.updates]
    if len(fruitless) == IDENTICAL_AT_MOST and len(set(fruitless)) == 1:
        return Break(error, Fault.TRIAL)
    return None


def _without_class(error: str) -> str:
    """An error without the name of an exception whose words are for a person."""
    return re.sub(r"^(NotReadyError|InputError): ", "", error)


def _kind(error: str) -> str:
    """An error without what is a trial's own in it: ids and numbers."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", error)

"""The breaker: whether what ended a trial would end every other trial too, so that no more are begun. Pure.

With a store that cannot be reached, a full disk or a dead board, each trial would fail in turn, 10 to 20 seconds apart.
And if three trials fail with the same message before any of them made an update, the cause is not in the trials.
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
    """Why no further trial is begun; `fault` is that of the trial that revealed it."""

    text: str
    fault: Fault


def cause(ended: Sequence[TrialEnded]) -> Break | None:
    """Why the study must end, judged by the trials that ended last; None to go on."""
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
    """An error without the class of an exception whose message is written for a person."""
    return re.sub(r"^(NotReadyError|InputError): ", "", error)


def _kind(error: str) -> str:
    """An error without what differs from trial to trial: ids and numbers."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", error)

"""How a run ended, as data."""

from dataclasses import dataclass, field
from enum import StrEnum

from cluster.study.study import Study


class End(StrEnum):
    """What ended a run.

    COMPLETED: the study is over, though some of its trials may have failed. STOPPED: a signal came. OUT_OF_BUDGET: the
    budget is spent. REFUSED: the check of its layout failed, so nothing was trained. BROKEN: its trials failed one
    after the other for the same reason.
    """

    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    OUT_OF_BUDGET = "OUT_OF_BUDGET"
    REFUSED = "REFUSED"
    BROKEN = "BROKEN"


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended; its measurements are in the study's summary.

    `failed` counts trials that ended without an answer. `cost_usd` is the attempts' shares of machines, as in the
    ledger; `bill_usd` what the whole fleet cost meanwhile, None where there is none. `reason` explains why the run
    ended before its study was over; `unwritten` names the trials that have to be trained again although they
    came to their end.
    """

    study: Study = field(repr=False)
    end: End
    failed: int = 0
    cost_usd: float = 0.0
    bill_usd: float | None = None
    reason: str | None = None
    unwritten: str | None = None

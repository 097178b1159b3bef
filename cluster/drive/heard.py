"""The events that a driver received, compared at the end with the rows in the summary."""

from collections import Counter
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from cluster.lanes.events import AttemptExhausted, AttemptLost, TrialEnded, TrialEvaluated, TrialEvent
from cluster.summary import query
from cluster.summary.tables import FINISHED
from trainer.report import State

NAMED = 5
# The columns of the trials with which events are compared.
COMPARED = ("study", "trial_id", "attempt", "state", "micro_batch_next")


class Heard:
    """The trials that ended with an answer, and how often each was evaluated.

    `before` are the trials that already had an answer when the run began.
    """

    def __init__(self, before: Collection[str]) -> None:
        self._answered = set(before)
        self._evaluations: Counter[str] = Counter()
        # If a lane goes away before it has written an evaluation, the next attempt need not evaluate it again.
        self._interrupted: set[str] = set()
        self._completed: set[str] = set()
        # The scheduler reports a stopped trial before its lane has written the row.
        self._stopped: set[str] = set()

    def hear(self, event: TrialEvent) -> None:
        """Note what happened to a trial."""
        trial_id = event.trial.trial_id
        match event:
            case AttemptLost() | AttemptExhausted():
                self._interrupted.add(trial_id)
            case TrialEvaluated():
                self._evaluations[trial_id] += 1
            case TrialEnded(state=State.STOPPED):
                self._stopped.add(trial_id)
            case TrialEnded(state=state) if state in FINISHED:
                self._answered.add(trial_id)
                if state is State.COMPLETED:
                    self._completed.add(trial_id)

    def missing(self, trials: pa.Table, evaluations: pa.Table) -> str | None:
        """What is missing from the rows of the study, for a person; None if nothing is."""
        present = set(query.finished(trials)["trial_id"].to_pylist())
        gone = sorted(self._answered - present)
        counted = pc.value_counts(evaluations["trial_id"])
        written = dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
        fewer = {
            trial_id: self._evaluations[trial_id] - written.get(trial_id, 0)
            for trial_id in sorted((self._completed & present) - self._interrupted)
            if written.get(trial_id, 0) < self._evaluations[trial_id]
        }
        parts = []
        if gone:
            parts.append(f"{len(gone)} of {len(self._answered)} trials that ended have no row ({_named(gone)})")
        if fewer:
            parts.append(f"{sum(fewer.values())} evaluations are missing (of {_named(list(fewer))})")
        return " and ".join(parts) or None

    def unwritten(self, trials: pa.Table) -> str | None:
        """The trials that were stopped early but have no answer in their rows, mostly because a lane went away first.

        The text is for a person; None if there are none.
        """
        gone = sorted(self._stopped - set(query.finished(trials)["trial_id"].to_pylist()))
        return f"{len(gone)} trials were stopped early and left no answer ({_named(gone)})" if gone else None


def _named(trial_ids: list[str]) -> str:
    more = len(trial_ids) - NAMED
    return ", ".join(trial_ids[:NAMED]) + (f" and {more} more" if more > 0 else "")

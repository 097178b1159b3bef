"""What a driver heard of its trials, compared at the end with what stands in the summary."""

from collections import Counter
from collections.abc import Collection

import pyarrow as pa

from cluster.lanes.events import AttemptExhausted, AttemptLost, TrialEnded, TrialEvaluated, TrialEvent
from cluster.summary import query
from cluster.summary.tables import FINISHED
from trainer.report import State

NAMED = 5


class Heard:
    """The trials that ended with an answer, and how often each was evaluated; `before` had one when the run began."""

    def __init__(self, before: Collection[str]) -> None:
        self._answered = set(before)
        self._evaluations: Counter[str] = Counter()
        # What an attempt had not written yet when its lane went away, the next one need not evaluate again.
        self._interrupted: set[str] = set()
        self._completed: set[str] = set()
        # Told by the scheduler, before its lane has written the row.
        self._stopped: set[str] = set()

    def hear(self, event: TrialEvent) -> None:
        """Take what happened to a trial."""
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
        """What is not among the rows of the study, for a person; None if all of it is."""
        there = set(query.finished(trials)["trial_id"].to_pylist())
        gone = sorted(self._answered - there)
        counted = evaluations.group_by("trial_id").aggregate([([], "count_all")])
        written = dict(zip(counted["trial_id"].to_pylist(), counted["count_all"].to_pylist(), strict=True))
        fewer = {
            one: self._evaluations[one] - written.get(one, 0)
            for one in sorted((self._completed & there) - self._interrupted)
            if written.get(one, 0) < self._evaluations[one]
        }
        parts = []
        if gone:
            parts.append(f"{len(gone)} of {len(self._answered)} trials that ended have no row ({_named(gone)})")
        if fewer:
            parts.append(f"{sum(fewer.values())} evaluations are missing (of {_named(list(fewer))})")
        return " and ".join(parts) or None

    def unwritten(self, trials: pa.Table) -> str | None:
        """Which trials were stopped early, but have no answer in their rows: most often a lane went away first."""
        gone = sorted(self._stopped - set(query.finished(trials)["trial_id"].to_pylist()))
        return f"{len(gone)} trials were stopped early and left no answer ({_named(gone)})" if gone else None


def _named(trial_ids: list[str]) -> str:
    more = len(trial_ids) - NAMED
    return ", ".join(trial_ids[:NAMED]) + (f" and {more} more" if more > 0 else "")

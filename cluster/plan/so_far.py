"""What a study has done so far, as its summary tells it: the trials it wants by now, and those that have an answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.analysis.declared import as_begun
from cluster.study.protocol import Wanted
from cluster.summary import query
from cluster.summary.known_losses import answers
from cluster.summary.store import Summary
from cluster.summary.tables import COMPLETED

if TYPE_CHECKING:
    from cluster.study.study import Study

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SoFar:
    """The trials that a study wants after its answers so far.

    `completed` are the rows of those that completed with its model and resources on its data, whatever their budget.
    """

    wanted: Wanted
    answered: frozenset[str]
    completed: tuple[Row, ...]

    @property
    def finished(self) -> int:
        """How many of the wanted trials have an answer."""
        return sum(planned.trial.trial_id in self.answered for planned in self.wanted.trials)


def so_far(study: "Study") -> SoFar:
    """What the study's summary knows of it; a study that was never run has no answer.

    Raises:
        NotReadyError: the store does not answer.
    """
    summary, name = Summary(study.spec.summary), study.spec.study
    specs, trials = query.studies(summary, name), query.trials(summary, name)
    study = as_begun(study, specs, trials)
    losses = answers(trials, study.spec_hash)
    costly = _costly(study.row)
    alike = {row["spec_hash"] for row in specs.to_pylist() if _costly(row) == costly}
    completed = tuple(
        row
        for row in trials.to_pylist()
        if row["state"] == COMPLETED
        and row["spec_hash"] in alike
        and row["data_hash"] == study.manifest.data_hash
        and not row["seconds_resumed"]
    )
    wanted = study.plan(losses)
    return SoFar(wanted=wanted, answered=frozenset(losses), completed=completed)


def _costly(row: Row) -> object:
    """What of a spec decides the costs of its updates, as the summary keeps it; a damaged spec is like no other."""
    try:
        keys = json.loads(row["spec_json"])
        return [keys[name] for name in ("task", "model", "resources")]
    except (ValueError, KeyError, TypeError):
        return row["spec_hash"]

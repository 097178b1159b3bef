"""What a study has done so far, as its summary tells it: the trials it wants by now, and those that have an answer.

And what others have done on its data with its model and resources, which tells what its own trials will take.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cluster.analysis.declared import as_begun
from cluster.study.protocol import Wanted
from cluster.summary import query
from cluster.summary.known_losses import answers
from cluster.summary.store import Summary
from cluster.summary.tables import COMPLETED

if TYPE_CHECKING:
    from cluster.study.study import Study

Row = Mapping[str, Any]
# Of other studies. What was measured long ago says little of the machines of today.
OTHERS_AT_MOST = 5


@dataclass(frozen=True, kw_only=True)
class SoFar:
    """The trials that a study wants after its answers so far.

    `completed` are the rows of those that completed with its model and resources on its data, whatever their budget, in
    this study or in others of its summary.
    """

    wanted: Wanted
    answered: frozenset[str]
    completed: tuple[Row, ...]

    @property
    def finished(self) -> int:
        """How many of the wanted trials have an answer."""
        return sum(planned.trial.trial_id in self.answered for planned in self.wanted.trials)

    @property
    def measured_in(self) -> tuple[str, ...]:
        """The studies of the completed rows."""
        return tuple(dict.fromkeys(row["study"] for row in self.completed))


def so_far(study: "Study") -> SoFar:
    """What the study's summary knows of it; a study that was never run has no answer.

    Raises:
        NotReadyError: the store does not answer.
    """
    summary, name = Summary(study.spec.summary), study.spec.study
    specs, trials = query.studies(summary, name), query.trials(summary, name)
    study = as_begun(study, specs, trials)
    losses = answers(trials, study.spec_hash)
    alike = _alike(query.studies(summary), study.row)
    others = [other for other in alike if other != name][:OTHERS_AT_MOST]
    found = [trials, *(query.trials(summary, other) for other in others)]
    completed = tuple(
        row
        for table in found
        for row in table.to_pylist()
        if row["state"] == COMPLETED
        and row["spec_hash"] in alike.get(row["study"], ())
        and row["data_hash"] == study.manifest.data_hash
        and not row["seconds_resumed"]
    )
    return SoFar(wanted=study.plan(losses), answered=frozenset(losses), completed=completed)


def _alike(specs: pa.Table, row: Row) -> dict[str, set[str]]:
    """The hashes of specs whose updates cost as much as those of `row`, by study; the studies begun last come first."""
    costly, found = _costly(row), dict[str, set[str]]()
    for other in reversed(specs.sort_by("declared_at").to_pylist()):
        if _costly(other) == costly:
            found.setdefault(other["study"], set()).add(other["spec_hash"])
    return found


def _costly(row: Row) -> object:
    """What of a spec decides the costs of its updates, as the summary keeps it; a damaged spec is like no other."""
    try:
        keys = json.loads(row["spec_json"])
        return [keys[name] for name in ("task", "model", "resources")]
    except (ValueError, KeyError, TypeError):
        return row["spec_hash"]

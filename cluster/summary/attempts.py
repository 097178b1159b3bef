"""Which of a trial's attempts count: its latest, the one that is an answer, and the curve of all of them. Pure."""

import functools

import pyarrow as pa
import pyarrow.compute as pc

from cluster.summary.tables import FINISHED, OUT_OF_MEMORY, TEXT


def latest(trials: pa.Table) -> pa.Table:
    """The row of each trial's highest attempt, sorted by study and trial."""
    return _highest_attempt(trials, ("study", "trial_id"))


def finished(trials: pa.Table) -> pa.Table:
    """For each trial with an answer (FINISHED), the row of the highest attempt that is one.

    A trial that ran out of memory and goes on in smaller micro-batches has no answer yet.
    """
    # Masks, not expressions: those start a plan of Arrow's engine, which takes longer than a small table itself.
    goes_on = pc.and_kleene(pc.equal(trials["state"], OUT_OF_MEMORY), pc.is_valid(trials["micro_batch_next"]))
    is_finished = pc.is_in(trials["state"], value_set=pa.array(FINISHED, TEXT))
    return latest(trials.filter(pc.and_not_kleene(is_finished, goes_on)))


def curves(evaluations: pa.Table) -> pa.Table:
    """One row for each update of a trial, from the highest attempt, sorted by study, trial and update.

    A resumed attempt repeats the evaluations that were made after its checkpoint.
    """
    return _highest_attempt(evaluations, ("study", "trial_id", "update"))


def _highest_attempt(table: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    order = pc.sort_indices(table, sort_keys=[*((key, "ascending") for key in keys), ("attempt", "descending")])
    return first_of_each(table.take(order), keys)


def first_of_each(ordered: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """The first row of each run of rows with equal keys."""
    if ordered.num_rows < 2:
        return ordered
    changes = (pc.not_equal(ordered[key].slice(1), ordered[key].slice(0, len(ordered) - 1)) for key in keys)
    changed = functools.reduce(pc.or_, changes)
    return ordered.filter(pa.chunked_array([pa.array([True]), *changed.chunks]))

"""A sentence for each optimizer and dtype with which the trials of a study learnt nothing."""

import pyarrow as pa

from cluster.analysis.learnt import groups_without_learning, guess_of
from cluster.report.verdict import nothing_learnt
from cluster.study.cell import cell_of_row, group_of


def lines(specs: pa.Table, trials: pa.Table) -> list[str]:
    """The sentences on one study, from its rows of `studies` (the newest last) and of `trials`."""
    if not specs.num_rows:
        return []
    newest = specs.slice(specs.num_rows - 1).to_pylist()[0]
    baseline = newest["baseline_loss"]
    idle = groups_without_learning(trials, guess_of(baseline, newest["best_constant_loss"]))
    columns = ["global_batch", "optimizer", "dtype", "settings"]
    groups = {group_of(cell_of_row(row)) for row in trials.select(columns).to_pylist()}
    said = nothing_learnt(newest["task"] or "", baseline or 0.0)
    return [
        said if len(groups) == 1 else f"{', '.join(filter(None, group))}: {said[0].lower()}{said[1:]}"
        for group in sorted(idle)
    ]

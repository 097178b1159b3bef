"""What early stopping saved: the examples that stopped trials of the screen did not use."""

from collections.abc import Sequence

import pyarrow as pa

from cluster.study.protocol import SCREEN
from cluster.summary import query
from cluster.summary.tables import STOPPED
from trainer.order import plan
from trainer.trial import TrialSpec


def line(trials: pa.Table, planned: Sequence[TrialSpec], *, train_rows: int) -> str:
    """One line on a study's screen; empty if none of its trials was stopped.

    `planned` has a trial of each global batch; all trials of that batch have the same budget.
    """
    budgets = {
        trial.global_batch: trial.global_batch
        * (plan.total_updates(trial.budget, global_batch=trial.global_batch, rows=train_rows) or 0)
        for trial in planned
    }
    screen = [row for row in query.finished(trials).to_pylist() if row["phase"] == SCREEN]
    stopped = [row for row in screen if row["state"] == STOPPED]
    if not stopped:
        return ""
    whole = sum(budgets.get(row["global_batch"], 0) for row in screen)
    saved = sum(budgets.get(row["global_batch"], 0) - row["examples"] for row in stopped)
    return (
        f"early stopping: {len(stopped)} of {len(screen)} screen trials stopped, "
        f"{saved / whole:.0%} of the screen's examples saved"
    )

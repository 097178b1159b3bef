"""What early stopping saved, counted from rows."""

import pyarrow as pa

from cluster.report.saving import line
from cluster.study import axes
from tests.support.simulated import BATCHES, ROWS, World, spec_of, study


def test_the_examples_that_stopped_trials_did_not_use_are_counted() -> None:
    spec = spec_of()
    _, trials, _ = study(spec, World())
    planned = axes.trials(spec, data_hash="d" * 16, train_rows=ROWS)
    assert line(trials, planned, train_rows=ROWS) == ""
    rows = trials.to_pylist()
    screen = [row for row in rows if row["phase"] == "screen"]
    for row in screen[: len(screen) // 2]:
        row |= {"state": "STOPPED", "examples": row["examples"] // 2}
    said = line(pa.Table.from_pylist(rows, schema=trials.schema), planned, train_rows=ROWS)
    assert said.startswith(f"early stopping: {len(screen) // 2} of {len(screen)} screen trials stopped, 25% of")
    assert len(screen) % len(BATCHES) == 0

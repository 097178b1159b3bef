"""Plot 4: how many rows a second each batch size trains, and what memory its processes held."""

import numpy as np
import pyarrow as pa

from cluster.analysis.counted import counted
from cluster.report.page.chart import Chart, Missing
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import join
from cluster.report.page.over_batches import Middle, batch_frame, batch_scale, middles, room, seeds, span
from cluster.report.page.scales import linear, value_text

_GIB = 2**30


def speed(facts: Facts, group: Group) -> Chart | Missing:
    """Rows a second over the batch sizes: each run, and their mean."""
    title = "Speed"
    speeds = {
        cell.global_batch: [
            (run.seed, float(run.row["examples_per_second"])) for run in cell.runs if run.row["examples_per_second"]
        ]
        for cell in group.cells
    }
    speeds = {batch: found for batch, found in speeds.items() if found}
    if not speeds:
        return Missing(title=title, why="no trial has reported its speed yet")
    means = {batch: float(np.mean([one for _, one in found])) for batch, found in speeds.items()}
    x = batch_scale(list(speeds))
    y = linear([one for found in speeds.values() for _, one in found], *span(), from_zero=True)
    known = [
        Middle(
            batch=batch,
            value=mean,
            low=None,
            high=None,
            usable=True,
            tip=f"B = {batch}: {value_text(mean)} rows/s, mean of {counted(len(speeds[batch]), 'run')}",
        )
        for batch, mean in means.items()
    ]
    dots = (
        seeds(
            batch,
            [(one, f"B = {batch}, seed {seed}: {value_text(one)} rows/s") for seed, one in found],
            x,
            y,
            facts.colours[batch],
            room(list(speeds)),
        )
        for batch, found in speeds.items()
    )
    listed = ", ".join(f"{value_text(mean)} at B = {batch}" for batch, mean in means.items())
    rows = [
        {"global_batch": batch, "seed": seed, "examples_per_second": one}
        for batch, found in speeds.items()
        for seed, one in found
    ]
    return Chart(
        name=f"speed{group.suffix}",
        title=title,
        note="Rows a second while training; large: the mean, small: each run.",
        says=f"Rows a second: {listed}.",
        drawing=join([batch_frame(x, y, list(speeds), "rows/s"), *dots, middles(known, x, y, facts.colours)]),
        table=pa.Table.from_pylist(rows),
    )


def memory(facts: Facts, group: Group) -> Chart | Missing:
    """Peak memory over the batch sizes, which follows the micro-batch."""
    title = "Memory"
    found = [cell for cell in group.verdict.cells if cell.peak_memory_bytes is not None]
    if not found:
        return Missing(title=title, why="no trial has reported its peak memory")
    known = [
        Middle(
            batch=cell.global_batch,
            value=(cell.peak_memory_bytes or 0) / _GIB,
            low=None,
            high=None,
            usable=True,
            tip=(
                f"B = {cell.global_batch}: at most {(cell.peak_memory_bytes or 0) / _GIB:.2f} GiB, "
                f"in micro-batches of {cell.micro_batch} rows"
            ),
        )
        for cell in found
    ]
    batches = [one.batch for one in known]
    x, y = batch_scale(batches), linear([one.value for one in known], *span(), from_zero=True)
    listed = ", ".join(f"{one.value:.2f} GiB at B = {one.batch}" for one in known)
    rows = [
        {
            "global_batch": cell.global_batch,
            "micro_batch": cell.micro_batch,
            "peak_memory_bytes": cell.peak_memory_bytes,
        }
        for cell in found
    ]
    return Chart(
        name=f"memory{group.suffix}",
        title=title,
        note="Peak of a worker's process, an upper bound. It depends on the micro-batch, not on B.",
        says=f"At most {listed}.",
        drawing=join([batch_frame(x, y, batches, "peak memory, GiB"), middles(known, x, y, facts.colours)]),
        table=pa.Table.from_pylist(rows),
    )

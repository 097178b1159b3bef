"""The best validation loss of each batch size: every run, the mean with its interval, and the target."""

import math

import pyarrow as pa

from cluster.analysis.counted import counted
from cluster.report.page.chart import WIDTH, Chart, Missing, label
from cluster.report.page.facts import Facts, Group
from cluster.report.page.look import loss_word, of_target
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.over_batches import Middle, batch_frame, batch_scale, middles, room, seeds, span
from cluster.report.page.scales import Scale, linear, tick_text, value_text


def chart(facts: Facts, group: Group) -> Chart | Missing:
    """The plot, which describes and concludes nothing."""
    title = f"Best validation {loss_word(facts)}"
    losses = {
        cell.global_batch: [(run.seed, run.best_loss()) for run in cell.runs if math.isfinite(run.best_loss())]
        for cell in group.cells
    }
    losses = {batch: found for batch, found in losses.items() if found}
    if not losses:
        return Missing(title=title, why="no trial has completed with a validation loss yet")
    known = [
        Middle(
            batch=cell.global_batch,
            value=cell.loss.mean,
            low=cell.loss.low,
            high=cell.loss.high,
            usable=cell.usable,
            tip=_tip(cell.global_batch, cell.loss.mean, cell.loss.low, cell.loss.high, cell.loss.pairs, facts),
        )
        for cell in group.verdict.cells
        if cell.loss is not None
    ]
    target = facts.verdict.declared.target
    batches = sorted(losses)
    values = [loss for found in losses.values() for _, loss in found] + [one.value for one in known]
    x, y = batch_scale(batches), linear([*values, *([target] if target is not None else [])], *span())
    parts = [
        batch_frame(x, y, batches, f"best {'loss, nats/token' if facts.perplexity else title[5:]}{of_target(target)}"),
        *([_perplexities(x, y)] if facts.perplexity else []),
        _target(target, x, y),
        *(_seeds(batch, found, x, y, facts, room(batches)) for batch, found in losses.items()),
        middles(known, x, y, facts.colours),
    ]
    listed = ", ".join(f"{value_text(one.value)} at B = {one.batch}" for one in known)
    return Chart(
        name=f"loss{group.suffix}",
        title=title,
        note="Large: the mean with its 95 % interval (hollow: supports no conclusion); small: each run.",
        says=f"Mean over the runs: {listed}." if listed else "No mean yet.",
        drawing=join(parts),
        table=_table(losses, facts),
    )


def _tip(batch: int, mean: float, low: float | None, high: float | None, runs: int, facts: Facts) -> str:
    spread = "" if low is None else f", 95 % CI {value_text(low)} to {value_text(high)}"
    return f"B = {batch}: {value_text(mean)}{perplexity(mean, facts)}, mean of {counted(runs, 'run')}{spread}"


def perplexity(loss: float, facts: Facts) -> str:
    """The perplexity of a loss in brackets; empty if the task has none."""
    return f" (perplexity {value_text(math.exp(loss))})" if facts.perplexity else ""


def _seeds(batch: int, found: list[tuple[int, float]], x: Scale, y: Scale, facts: Facts, width: float) -> Markup:
    values = [(loss, f"B = {batch}, seed {seed}: {value_text(loss)}{perplexity(loss, facts)}") for seed, loss in found]
    return seeds(batch, values, x, y, facts.colours[batch], width)


def _target(target: float | None, x: Scale, y: Scale) -> Markup:
    if target is None:
        return Markup("")
    return tag("line", x1=x.start, x2=x.end, y1=y(target), y2=y(target), class_="target")


def _perplexities(x: Scale, y: Scale) -> Markup:
    """The same ticks repeated on the right, as perplexities."""
    ticks = (label(tick_text(float(f"{math.exp(v):.3g}")), x.end + 4, y(v) + 4, class_="tick") for v in y.ticks(5))
    return join([*ticks, label("perplexity", WIDTH - 2, 13, anchor="end", class_="axis-title")])


def _table(losses: dict[int, list[tuple[int, float]]], facts: Facts) -> pa.Table:
    rows = [
        {"global_batch": batch, "seed": seed, "best_validation_loss": loss}
        | ({"perplexity": math.exp(loss)} if facts.perplexity else {})
        for batch, found in sorted(losses.items())
        for seed, loss in found
    ]
    return pa.Table.from_pylist(rows)

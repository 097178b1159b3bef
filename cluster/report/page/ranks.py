"""The ranking next to the curves: the mean best loss of each batch size when one clock is held equal."""

import math

import pyarrow as pa

from cluster.analysis.counted import counted
from cluster.report.page.chart import WIDTH, Chart, Missing, label, mark
from cluster.report.page.facts import Facts, Group
from cluster.report.page.losses import perplexity
from cluster.report.page.markup import join, tag
from cluster.report.page.scales import linear, value_text
from cluster.report.page.series import Clock, Rank

_ROW, _TOP, _NAMES, _VALUES = 28, 26, 102, 54


def chart(facts: Facts, group: Group, clock: Clock) -> Chart | Missing:
    """The ranking at equal `clock`, best first; cells that support no conclusion have hollow marks."""
    title = f"Ranked at equal {clock.name}"
    if stopped_at_target(facts):
        return Missing(title=title, why="the runs stopped at the target, so their losses cannot be ranked")
    most, ranks = clock.most, clock.ranks
    if len(ranks) < 2 or not math.isfinite(most):
        return Missing(title=title, why="fewer than two batch sizes have completed runs")
    ends = [end for one in ranks for end in (one.loss.low, one.loss.high, one.loss.mean) if end is not None]
    x = linear(ends, _NAMES, WIDTH - _VALUES)
    rows = []
    for number, one in enumerate(ranks):
        height, colour = _TOP + _ROW * (number + 0.5), facts.colours[one.batch]
        look = f"dot f{colour}" if one.usable else f"hollow s{colour}"
        drawn = [tag("circle", cx=x(one.loss.mean), cy=height, r=5, class_=look)]
        if one.loss.low is not None and one.loss.high is not None:
            span = tag("line", x1=x(one.loss.low), x2=x(one.loss.high), y1=height, y2=height)
            drawn.insert(0, tag("g", span, class_=f"interval s{colour}"))
        rows += [
            tag("line", x1=0, x2=WIDTH, y1=height + _ROW / 2, y2=height + _ROW / 2, class_="grid"),
            label(f"{number + 1}.", 22, height + 4, anchor="end", class_="aside"),
            label(f"B = {one.batch}", 30, height + 4, class_="strong"),
            mark(_tip(one, facts), x(one.loss.mean), height, *drawn, batch=one.batch),
            label(f"{one.loss.mean:.4f}", WIDTH - 2, height + 4, anchor="end"),
        ]
    listed = ", ".join(f"B = {one.batch} ({value_text(one.loss.mean)})" for one in ranks)
    early = sorted({cell.global_batch for cell in group.cells} - {one.batch for one in ranks})
    unseen = f" No loss by then: B = {', '.join(map(str, early))}." if early else ""
    head = label(f"mean best loss with {value_text(most)} {clock.name} each", 2, 13, class_="axis-title")
    return Chart(
        name=f"ranking-{clock.name}{group.suffix}",
        title=title,
        note=f"Mean of the runs' best losses with its 95 % interval: means only, no claim.{unseen}",
        says=f"With {value_text(most)} {clock.name} each, best first: {listed}.{unseen}",
        drawing=join([head, *rows]),
        table=_table(clock, facts),
        height=_TOP + _ROW * len(ranks) + 6,
    )


def stopped_at_target(facts: Facts) -> bool:
    """Whether runs end at the target, so that their best losses show where they stopped, not how good they could be."""
    return facts.verdict.declared.stops_at_target


def _tip(one: Rank, facts: Facts) -> str:
    spread = "" if one.loss.low is None else f", 95 % CI {value_text(one.loss.low)} to {value_text(one.loss.high)}"
    mean = f"{value_text(one.loss.mean)}{perplexity(one.loss.mean, facts)}"
    return f"B = {one.batch}: {mean}, mean of {counted(one.loss.pairs, 'run')}{spread}"


def _table(clock: Clock, facts: Facts) -> pa.Table:
    rows = [
        {
            "rank": number + 1,
            "global_batch": one.batch,
            f"equal_{clock.name}": clock.most,
            "mean_best_validation_loss": one.loss.mean,
            "low95": one.loss.low,
            "high95": one.loss.high,
            "runs": one.loss.pairs,
        }
        | ({"perplexity": math.exp(one.loss.mean)} if facts.perplexity else {})
        for number, one in enumerate(clock.ranks)
    ]
    return pa.Table.from_pylist(rows)

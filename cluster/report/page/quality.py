"""Plot 7: the paired differences of loss against the reference, with their intervals and the margin."""

import pyarrow as pa

from cluster.analysis.quality import Quality
from cluster.report.page.chart import BOTTOM, HEIGHT, TOP, WIDTH, Chart, Missing, label, mark
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, linear, tick_text

TITLE = "Loss against the reference"
_NAMES, _OUTCOMES = 62, 76
# As tall as the other charts, within limits.
_LEAST_ROW, _MOST_ROW = 26, 56
_CLASS = {"worse": "bad", "better": "good", "equivalent": "good"}


def chart(facts: Facts, group: Group) -> Chart | Missing:
    """The plot: a row for each compared batch size, with the reference at zero."""
    found = group.verdict.qualities
    if not found:
        return Missing(title=TITLE, why=_why_not(facts, group))
    margin = facts.verdict.declared.margin
    row = min(max((HEIGHT - TOP - BOTTOM) / len(found), _LEAST_ROW), _MOST_ROW)
    height = TOP + BOTTOM + round(row * len(found))
    ends = [0.0, *(end for one in found for end in (one.low95, one.high95, one.difference) if end is not None)]
    x = linear([*ends, *([-margin, margin] if margin else [])], _NAMES, WIDTH - _OUTCOMES)
    y = Scale(0.0, len(found), TOP, height - BOTTOM)
    parts = [
        _margin(margin, x, y),
        _grid(x, y, height, group.verdict.reference),
        *(_row(one, number, x, y, facts.colours[one.global_batch]) for number, one in enumerate(found)),
    ]
    listed = "; ".join(f"B = {one.global_batch}: {one.difference:+.3g}, {one.outcome}" for one in found)
    band = f"; shaded: the margin of {margin:g}" if margin else "; no margin was declared in time"
    return Chart(
        name=f"quality{group.suffix}",
        title=TITLE,
        note=f"Paired by seed; intervals of 90 % (thick) and 95 %{band}.",
        says=f"Difference of the best validation loss from that of B = {group.verdict.reference}: {listed}.",
        drawing=join(parts),
        table=_table(found),
        height=height,
    )


def _why_not(facts: Facts, group: Group) -> str:
    if group.verdict.nothing_learnt:
        return "no batch size beats a guess that ignores the input"
    if facts.verdict.declared.spec.get("protocol") is None:
        return "no learning rate was tuned on separate seeds (add `protocol: {}` to the study)"
    if group.verdict.reference is None:
        return "no batch size has a tuned rate that lies inside those tried and is confirmed on three seeds"
    return "fewer than two batch sizes can be compared over whole budgets"


def _margin(margin: float | None, x: Scale, y: Scale) -> Markup:
    if not margin:
        return Markup("")
    return tag("rect", x=x(-margin), y=y.start, width=x(margin) - x(-margin), height=y.end - y.start, class_="band")


def _grid(x: Scale, y: Scale, height: float, reference: int | None) -> Markup:
    """Vertical grid lines, because values run sideways here."""
    lines = [tag("line", x1=x(value), x2=x(value), y1=y.start, y2=y.end, class_="grid") for value in x.ticks(5)]
    zero = tag("line", x1=x(0), x2=x(0), y1=y.start, y2=y.end, class_="axis")
    ticks = _ticks(x, y, height)
    title = label(f"to the right: worse than B = {reference}", 2, 13, class_="axis-title")
    return join([*lines, zero, ticks, title])


def _ticks(x: Scale, y: Scale, height: float) -> Markup:
    parts = [label(tick_text(value), x(value), y.end + 17, anchor="middle", class_="tick") for value in x.ticks(5)]
    return join([*parts, label("difference of loss", x.end, height - 6, anchor="end", class_="axis-title")])


def _row(one: Quality, number: int, x: Scale, y: Scale, colour: int) -> Markup:
    at, height = x(one.difference), y(number + 0.5)
    drawn = []
    for low, high, class_ in ((one.low95, one.high95, "interval"), (one.low90, one.high90, "interval thick")):
        if low is not None and high is not None:
            line = tag("line", x1=x(low), x2=x(high), y1=height, y2=height, class_=f"{class_} s{colour}")
            drawn.append(line)
    drawn.append(tag("circle", cx=at, cy=height, r=5, class_=f"dot f{colour}"))
    tip = (
        f"B = {one.global_batch}: {one.difference:+.3g}, 95 % CI {_signed(one.low95)} to {_signed(one.high95)}, "
        f"{one.pairs} pairs: {one.outcome}"
    )
    words = [
        label(f"B = {one.global_batch}", 2, height + 4, class_="strong"),
        label(one.outcome, WIDTH - 2, height + 4, anchor="end", class_=_CLASS.get(one.outcome, "label")),
    ]
    return join([*words, mark(tip, at, height, *drawn, batch=one.global_batch)])


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3g}"


def _table(found: tuple[Quality, ...]) -> pa.Table:
    names = ("global_batch", "difference", "low95", "high95", "low90", "high90", "pairs", "p_different", "outcome")
    return pa.Table.from_pylist([{name: getattr(one, name) for name in names} for one in found])

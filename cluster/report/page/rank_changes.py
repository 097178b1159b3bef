"""How the ranking of batch sizes changes with the clock held equal: a column for each clock, a line for each size."""

import math
from collections.abc import Mapping

import pyarrow as pa

from cluster.report.page.chart import WIDTH, Chart, Missing, label, mark, path
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import join, tag
from cluster.report.page.scales import value_text
from cluster.report.page.series import Clock

TITLE = "The ranking on each clock"
# Epochs rank like examples.
_CLOCKS = ("updates", "examples", "seconds")
_ROW, _TOP, _LEFT, _RIGHT = 24, 44, 68, 46


def chart(facts: Facts, group: Group, clocks: Mapping[str, Clock]) -> Chart | Missing:
    """The plot, with the best batch size at the top of each column."""
    known = {name: clocks[name] for name in _CLOCKS if len(clocks[name].ranks) > 1 and math.isfinite(clocks[name].most)}
    if len(known) < 2:
        return Missing(title=TITLE, why="fewer than two batch sizes have completed runs")
    columns = {name: _LEFT + number * (WIDTH - _LEFT - _RIGHT) / (len(known) - 1) for number, name in enumerate(known)}
    parts: list[str] = []
    for name, at in columns.items():
        parts.append(label(f"equal {name}", at, 13, anchor="middle", class_="axis-title"))
        parts.append(label(value_text(known[name].most), at, 27, anchor="middle", class_="aside"))
    for batch in sorted({one.batch for clock in known.values() for one in clock.ranks}):
        parts.append(_line(batch, known, columns, facts.colours[batch]))
    listed = "; ".join(
        f"at equal {name} B = {', '.join(str(one.batch) for one in clock.ranks)}" for name, clock in known.items()
    )
    return Chart(
        name=f"rank-changes{group.suffix}",
        title=TITLE,
        note="Best mean loss on top, each column at the equal budget above it; epochs rank like examples.",
        says=f"Best first: {listed}.",
        drawing=join(parts),
        table=_table(known),
        height=_TOP + _ROW * max(len(clock.ranks) for clock in known.values()) + 4,
    )


def _line(batch: int, known: dict[str, Clock], columns: dict[str, float], colour: int) -> str:
    places = {}
    for name, clock in known.items():
        for number, one in enumerate(clock.ranks):
            if one.batch == batch:
                places[name] = (columns[name], _TOP + _ROW * (number + 0.5), one)
    points = [(at, height) for at, height, _ in places.values()]
    parts = [tag("path", d=path(points), class_=f"line s{colour}")] if len(points) > 1 else []
    for name, (at, height, one) in places.items():
        tip = f"B = {batch} at equal {name}: {value_text(one.loss.mean)}"
        look = f"dot f{colour}" if one.usable else f"hollow s{colour}"
        parts.append(mark(tip, at, height, tag("circle", cx=at, cy=height, r=5, class_=look), batch=batch))
    first, last = next(iter(known)), list(known)[-1]
    if first in places:
        at, height, _ = places[first]
        parts.append(label(f"B = {batch}", at - 11, height + 4, anchor="end", class_="strong"))
    if last in places:
        at, height, _ = places[last]
        parts.append(label(f"{batch}", at + 11, height + 4, class_="strong"))
    return join(parts)


def _table(known: dict[str, Clock]) -> pa.Table:
    rows = [
        {
            "equal": name,
            "amount": clock.most,
            "rank": number + 1,
            "global_batch": one.batch,
            "mean_best_validation_loss": one.loss.mean,
        }
        for name, clock in known.items()
        for number, one in enumerate(clock.ranks)
    ]
    return pa.Table.from_pylist(rows)

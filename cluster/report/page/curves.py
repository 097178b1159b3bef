"""Plot 8: validation loss against updates, examples, epochs and seconds, for the same runs."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cluster.analysis.cells import Floats
from cluster.report.page.chart import BOTTOM, LEFT, Chart, Missing, frame, label, path, text_width
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, linear, log, tick_text, value_text
from cluster.report.page.series import Clock, Series, thin

TITLE = "Validation loss while training"
SIZES = ("wide", "narrow")
_TOP, _RIGHT = 36, 40
# With more runs than this, the faint ones are drawn more coarsely, so that the page stays small.
_FINE = 50
_AXIS = {
    "updates": "updates (log)",
    "examples": "examples (log)",
    "epochs": "epochs (log)",
    "seconds": "seconds of training (log)",
}


def chart(facts: Facts, group: Group, clock: Clock, size: str = "wide") -> Chart | Missing:
    """The plot on one clock, in one of SIZES."""
    found, name = clock.series, clock.name
    known = [(one, one.mean) for one in found if one.mean is not None and len(one.mean[0])]
    if not known:
        return Missing(title=TITLE, why="no trial has completed with evaluations yet")
    width, height = _size(size, len(group.cells))
    starts = [float(at[at > 0].min()) for _, (at, _) in known if (at > 0).any()]
    if not starts:
        return Missing(title=TITLE, why=f"no evaluation has a position on the clock of {name}")
    ends = [float(at.max()) for one in found for at, _ in one.runs]
    target = facts.verdict.declared.target
    x = log([*starts, *ends], LEFT, width - _RIGHT, air=0.0)
    losses = [*np.concatenate([loss for _, (_, loss) in known]), *([target] if target is not None else [])]
    y = linear([float(loss) for loss in losses if math.isfinite(loss)], height - BOTTOM, _TOP)
    apart = 2.0 * max(1.0, sum(len(one.runs) for one in found) / _FINE)
    title = f"validation loss{', nats a token' if facts.perplexity else ''}"
    return Chart(
        name=f"curves-{name}{group.suffix}",
        title=f"{TITLE}, by {name}",
        note="Bold: the mean over a batch size's runs; faint: each run.",
        says=_says(known, name),
        drawing=join(
            [
                frame(x, y, x_title=_AXIS[name], y_title=title, width=width, height=height),
                _equal(clock.most, x, y),
                _target(target, x, y),
                *(_runs(one, x, y, facts.colours[one.batch], width=apart) for one in found),
                *(_mean(one, name, x, y, facts) for one, _ in known),
                _labels([(one.batch, *mean) for one, mean in known], x, y),
            ]
        ),
        table=_table(known, name),
        width=width,
        height=height,
    )


def _size(size: str, batches: int) -> tuple[int, int]:
    """Width and height; the wide size is as tall as the rankings next to it, within limits."""
    return (360, 330) if size == "narrow" else (700, min(max(400, 240 + 54 * batches), 760))


def _drawn(
    at: Floats, losses: Floats, x: Scale, y: Scale, width: float = 2.0
) -> tuple[list[tuple[float, float]], list[int]]:
    """The points to draw, thinned and kept inside the frame, and their indices."""
    places = np.flatnonzero((at >= x.low) & np.isfinite(losses))
    if not places.size:
        return [], []
    across, down = x.many(at[places]), y.many(losses[places])
    kept = thin(across, down, width)
    return [(across[one], down[one]) for one in kept], places[kept].tolist()


def _runs(one: Series, x: Scale, y: Scale, colour: int, *, width: float) -> Markup:
    drawn = [_drawn(at, losses, x, y, width)[0] for at, losses in one.runs]
    data = "".join(path(points) for points in drawn if len(points) > 1)
    return tag("path", d=data, class_=f"run s{colour}", data_batch=one.batch) if data else Markup("")


def _mean(one: Series, clock: str, x: Scale, y: Scale, facts: Facts) -> Markup:
    assert one.mean is not None
    at, losses = one.mean
    points, places = _drawn(at, losses, x, y)
    return tag(
        "path",
        d=path(points),
        class_=f"line s{facts.colours[one.batch]}",
        data_batch=one.batch,
        data_unit=clock,
        data_runs=len(one.runs),
        data_x=" ".join(f"{value:.5g}" for value in at[places]),
        data_y=" ".join(f"{value:.5g}" for value in losses[places]),
        data_perplexity="yes" if facts.perplexity else None,
    )


def _equal(most: float, x: Scale, y: Scale) -> Markup:
    """A line where all runs are compared: at the end of the run that had the least of the clock."""
    if not x.low <= most <= x.high:
        return Markup("")
    line = tag("line", x1=x(most), x2=x(most), y1=y.end, y2=y.start, class_="reference")
    text = f"ranked at {tick_text(float(f'{most:.4g}'))}"
    half = text_width(text, 11) / 2
    at = min(max(x(most), x.start + half), x.end + _RIGHT - half)
    return join([line, label(text, at, y.end - 6, anchor="middle", class_="aside")])


def _target(target: float | None, x: Scale, y: Scale) -> Markup:
    if target is None:
        return Markup("")
    line = tag("line", x1=x.start, x2=x.end, y1=y(target), y2=y(target), class_="target")
    return join([line, label(f"target {value_text(target)}", x.start + 4, y(target) - 4, class_="target-label halo")])


def _labels(found: Sequence[tuple[int, Floats, Floats]], x: Scale, y: Scale) -> Markup:
    """A label for each batch size at the end of its line, moved up or down where it would cover another label."""
    taken: list[tuple[float, float, float]] = []
    parts = []
    for batch, at, losses in sorted(found, key=lambda one: float(one[2][-1])):
        text = f"{batch}"
        left, right = x(at[-1]) + 6, x(at[-1]) + 10 + text_width(text, 14)
        wished = y(min(max(losses[-1], y.low), y.high)) + 4
        shifts = sorted((step * 7 for step in range(-4, 5)), key=abs)
        free = (
            shift
            for shift in shifts
            if y.end <= wished + shift <= y.start - 2
            and all(
                right < other_left or other_right < left or abs(wished + shift - other) >= 14
                for other_left, other_right, other in taken
            )
        )
        shift = next(free, None)
        if shift is None:
            # Far from its line it would seem to name another; pointer, keyboard and colours still identify the line.
            continue
        height = wished + shift
        taken.append((left, right, height))
        parts.append(tag("g", label(text, left, height, class_="strong halo"), data_batch=batch))
    return join(parts)


def _says(known: Sequence[tuple[Series, tuple[Floats, Floats]]], clock: str) -> str:
    listed = ", ".join(
        f"{value_text(float(losses[-1]))} after {value_text(float(at[-1]))} {clock} at B = {one.batch}"
        for one, (at, losses) in known
    )
    return f"Mean validation loss at the last evaluation: {listed}."


def _table(known: Sequence[tuple[Series, tuple[Floats, Floats]]], clock: str) -> pa.Table:
    rows = [
        {"global_batch": one.batch, "runs": len(one.runs), clock: float(place), "mean_validation_loss": float(loss)}
        for one, (at, losses) in known
        for place, loss in zip(at, losses, strict=True)
    ]
    return pa.Table.from_pylist(rows)

"""Plot 8: validation loss against updates, examples, epochs and seconds, for the same runs."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cluster.analysis.cells import Floats
from cluster.report.page.chart import BOTTOM, LEFT, Chart, Missing, frame, label, path, text_width
from cluster.report.page.labels import Box, placed
from cluster.report.page.look import Look, loss_word, of_target
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, linear, log, tick_text, value_text
from cluster.report.page.series import Clock, Series, thin

TITLE = "Validation loss while training"
SIZES = ("wide", "narrow")
_TOP, _RIGHT = 36, 40
# With more runs than this, the faint ones are drawn more coarsely, so that the page stays small.
_FINE = 50
AXIS = {
    "updates": "updates (log)",
    "examples": "examples (log)",
    "epochs": "epochs (log)",
    "seconds": "seconds of training (log)",
}


def chart(look: Look, clock: Clock, size: str = "wide", suffix: str = "") -> Chart | Missing:
    """The plot on one clock, in one of SIZES."""
    found, name = clock.series, clock.name
    known = [(one, one.mean) for one in found if one.mean is not None and len(one.mean[0])]
    shown = [curve for one in found for curve in (*one.runs, *one.running)]
    if not shown:
        return Missing(title=TITLE, why="no trial has completed with evaluations yet")
    width, height = _size(size, len(found))
    leading = [curve for _, curve in known] or shown
    starts = [float(at[at > 0].min()) for at, _ in leading if (at > 0).any()]
    if not starts:
        return Missing(title=TITLE, why=f"no evaluation has a position on the clock of {name}")
    target = look.target
    x = log([*starts, *(float(at.max()) for at, _ in shown)], LEFT, width - _RIGHT, air=0.0)
    running = [loss for one in found for _, loss in one.running]
    losses = [*np.concatenate([*(loss for _, loss in leading), *running]), *([target] if target is not None else [])]
    y = linear([float(loss) for loss in losses if math.isfinite(loss)], height - BOTTOM, _TOP)
    apart = 2.0 * max(1.0, sum(len(one.runs) for one in found) / _FINE)
    ends = [(one.batch, *mean) for one, mean in known] or [(one.batch, *_furthest(one)) for one in found]
    drawn = {one.batch: _drawn(*mean, x, y) for one, mean in known}
    return Chart(
        name=f"curves-{name}{suffix}",
        title=f"{TITLE.replace('loss', loss_word(look))}, by {name}",
        note=_note(found, counted=bool(known)),
        says=_says(known, name),
        drawing=join(
            [
                frame(x, y, x_title=AXIS[name], y_title=_y_title(look, target), width=width, height=height),
                _equal(clock.most, x, y),
                _target(target, x, y),
                *(_runs(one.batch, one.runs, "run", x, y, look.colours[one.batch], width=apart) for one in found),
                *(_runs(one.batch, one.running, "running", x, y, look.colours[one.batch], width=2) for one in found),
                *(_mean(one, name, *drawn[one.batch], look) for one, _ in known),
                _labels(ends, x, y, [*(points for points, _ in drawn.values()), *_across(clock.most, target, x, y)]),
            ]
        ),
        table=_table(known, name) if known else _table_of_runs(found, name),
        width=width,
        height=height,
    )


def _note(found: Sequence[Series], *, counted: bool) -> str:
    """How to read the plot, of which a part may still be missing."""
    if counted and sum(len(one.runs) for one in found) == 1:
        return ""
    parts = ["Bold: the mean over a batch size's runs; faint: each run"] if counted else []
    if not counted and any(one.runs for one in found):
        parts.append("Faint: the trials that look for a learning rate; none counts yet")
    if any(one.running for one in found):
        parts.append("dashed: trials still running")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _y_title(look: Look, target: float | None) -> str:
    unit = ", nats a token" if look.perplexity else ""
    return f"validation {loss_word(look)}{unit}{of_target(target)}"


def _furthest(one: Series) -> tuple[Floats, Floats]:
    """The run that has come furthest, where its batch size is named."""
    return max((*one.runs, *one.running), key=lambda curve: float(curve[0][-1]))


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


def _runs(
    batch: int, curves: Sequence[tuple[Floats, Floats]], class_: str, x: Scale, y: Scale, colour: int, *, width: float
) -> Markup:
    drawn = [_drawn(at, losses, x, y, width)[0] for at, losses in curves]
    data = "".join(path(points) for points in drawn if len(points) > 1)
    return tag("path", d=data, class_=f"{class_} s{colour}", data_batch=batch) if data else Markup("")


def _mean(one: Series, clock: str, points: list[tuple[float, float]], places: list[int], look: Look) -> Markup:
    assert one.mean is not None
    at, losses = one.mean
    return tag(
        "path",
        d=path(points),
        class_=f"line s{look.colours[one.batch]}",
        data_batch=one.batch,
        data_unit=clock,
        data_runs=len(one.runs),
        data_what=loss_word(look),
        data_called=look.called,
        data_x=" ".join(f"{value:.5g}" for value in at[places]),
        data_y=" ".join(f"{value:.5g}" for value in losses[places]),
        data_perplexity="yes" if look.perplexity else None,
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
    return tag("line", x1=x.start, x2=x.end, y1=y(target), y2=y(target), class_="target")


def _labels(
    found: Sequence[tuple[int, Floats, Floats]],
    x: Scale,
    y: Scale,
    lines: Sequence[Sequence[tuple[float, float]]],
) -> Markup:
    """A label for each batch size at the end of its line; pointer, keyboard and colours identify those without."""
    ordered = sorted(found, key=lambda one: float(one[2][-1]))
    wishes = [
        (f"{batch}", (x(float(at[-1])), y(min(max(float(losses[-1]), y.low), y.high)))) for batch, at, losses in ordered
    ]
    places = placed(wishes, lines, Box(x.start, y.end, x.end + _RIGHT, y.start - 2))
    return join(
        tag("g", label(text, *place, class_="strong halo"), data_batch=batch)
        for (batch, *_), (text, _), place in zip(ordered, wishes, places, strict=True)
        if place is not None
    )


def _across(most: float, target: float | None, x: Scale, y: Scale) -> list[list[tuple[float, float]]]:
    """The reference lines, on which no label may lie."""
    upright = [[(x(most), y.start), (x(most), y.end)]] if x.low <= most <= x.high else []
    return upright + ([] if target is None else [[(x.start, y(target)), (x.end, y(target))]])


def _says(known: Sequence[tuple[Series, tuple[Floats, Floats]]], clock: str) -> str:
    if not known:
        return "No trial that counts has ended yet."
    listed = ", ".join(
        f"{value_text(float(losses[-1]))} after {value_text(float(at[-1]))} {clock} at B = {one.batch}"
        for one, (at, losses) in known
    )
    return f"Mean validation loss at the last evaluation: {listed}."


def _table_of_runs(found: Sequence[Series], clock: str) -> pa.Table:
    rows = [
        {"global_batch": one.batch, "trial": number + 1, clock: float(place), "validation_loss": float(loss)}
        for one in found
        for number, (at, losses) in enumerate((*one.runs, *one.running))
        for place, loss in zip(at, losses, strict=True)
    ]
    return pa.Table.from_pylist(rows)


def _table(known: Sequence[tuple[Series, tuple[Floats, Floats]]], clock: str) -> pa.Table:
    rows = [
        {"global_batch": one.batch, "runs": len(one.runs), clock: float(place), "mean_validation_loss": float(loss)}
        for one, (at, losses) in known
        for place, loss in zip(at, losses, strict=True)
    ]
    return pa.Table.from_pylist(rows)

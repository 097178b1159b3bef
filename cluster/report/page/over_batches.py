"""What charts over the batch sizes share: their axis, and the runs of a cell around their middle."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.report.page.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, frame, interval, mark, path
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, log

X_TITLE = "global batch, rows"


def batch_scale(batches: Sequence[int]) -> Scale:
    """The logarithmic axis of the batch sizes."""
    return log(batches, LEFT, WIDTH - RIGHT, air=0.07)


def span() -> tuple[float, float]:
    """The start and end of the vertical axis, upwards."""
    return HEIGHT - BOTTOM, TOP


def batch_frame(x: Scale, y: Scale, batches: Sequence[int], y_title: str) -> Markup:
    """The frame of a chart over batch sizes, with a tick for each of them."""
    return frame(x, y, x_title=X_TITLE, y_title=y_title, at=[(batch, f"{batch}") for batch in batches])


@dataclass(frozen=True, kw_only=True)
class Middle:
    """A cell's middle value with its interval, if it has one; `usable` if conclusions may be drawn from it."""

    batch: int
    value: float
    low: float | None
    high: float | None
    usable: bool
    tip: str


def middles(found: Sequence[Middle], x: Scale, y: Scale, colours: dict[int, int], *, line: bool = True) -> Markup:
    """Middle values with their intervals, joined by a line; a value that supports no conclusion is hollow."""
    parts: list[str] = []
    if line and len(found) > 1:
        parts.append(tag("path", d=path([(x(one.batch), y(one.value)) for one in found]), class_="law"))
    for one in found:
        at, colour = x(one.batch), colours[one.batch]
        drawn = []
        if one.low is not None and one.high is not None:
            drawn.append(interval(at, one.low, one.high, y, f"s{colour}"))
        look = f"dot f{colour}" if one.usable else f"hollow s{colour}"
        drawn.append(tag("circle", cx=at, cy=y(one.value), r=5, class_=look))
        parts.append(mark(one.tip, at, y(one.value), *drawn, batch=one.batch))
    return join(parts)


def room(batches: Sequence[int]) -> float:
    """How wide the runs of one batch size may spread without touching those of the next."""
    return 0.6 * (WIDTH - LEFT - RIGHT) / len(batches)


def beside(number: int, count: int, width: float, apart: float = 3.5) -> float:
    """The offset of mark `number` of `count` from the middle: `apart` from the next, or closer if `width` requires."""
    return (number - (count - 1) / 2) * min(apart, width / max(1, count - 1))


def seeds(batch: int, values: Sequence[tuple[float, str]], x: Scale, y: Scale, colour: int, room: float) -> Markup:
    """A small dot for each run's value, with its words, next to each other within `room`."""
    parts = []
    for number, (value, tip) in enumerate(values):
        at = x(batch) + beside(number, len(values), room)
        dot = tag("circle", cx=at, cy=y(value), r=2.6, class_=f"seed f{colour}")
        parts.append(mark(tip, at, y(value), dot, batch=batch))
    return join(parts)

"""A chart: its drawing, a sentence on what it shows, and its numbers as a table; and the frame of all charts."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from cluster.report.page import palette
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, apart, tick_text

# A card's width on a phone and in a grid of three. Charts are drawn once, at this size, and are legible in both.
WIDTH, HEIGHT = 360, 284
LEFT, RIGHT, TOP, BOTTOM = 56, 28, 30, 44
_TEXT_WIDTH = 6.6


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One plot. `note` is a sentence on how to read it, `says` one on what it shows; `table` has all its numbers."""

    name: str
    title: str
    note: str
    says: str
    drawing: Markup
    table: pa.Table
    width: int = WIDTH
    height: int = HEIGHT

    def inline(self, class_: str = "") -> Markup:
        """The drawing for the page, which provides its style. It has no `title`, which would pop up over every mark."""
        return tag(
            "svg",
            self.drawing,
            class_=f"chart {class_}".strip(),
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
            aria_label=f"{self.title}. {self.says}",
        )

    def standalone(self, colours: int) -> str:
        """The drawing as a separate file: light, titled, with the `colours` of the batch sizes written out."""
        style = palette.literal(palette.chart_style(colours), colours)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + tag(
            "svg",
            tag("title", self.title),
            tag("desc", self.says),
            tag("style", Markup(style)),
            tag("rect", width=self.width, height=self.height, class_="paper"),
            self.drawing,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {self.width} {self.height}",
            width=self.width,
            height=self.height,
            class_="chart",
        )


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A plot that the data do not support, and why."""

    title: str
    why: str


def text_width(text: str, size: float = 12) -> float:
    """The approximate width of a text; never less than its width in the usual sans-serif fonts."""
    return len(text) * _TEXT_WIDTH * size / 12


def label(text: str, x: float, y: float, *, anchor: str = "start", class_: str = "label") -> Markup:
    """A text on a chart."""
    return tag("text", text, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_)


def frame(
    x: Scale,
    y: Scale,
    *,
    x_title: str,
    y_title: str,
    width: int = WIDTH,
    height: int = HEIGHT,
    at: Sequence[tuple[float, str]] | None = None,
) -> Markup:
    """Horizontal grid lines, with the y title above them, ticks and titles. `at`: ticks of x, otherwise round ones."""
    top, floor = min(y.start, y.end), max(y.start, y.end)
    parts = [
        label(y_title, 2, 13, class_="axis-title"),
        label(x_title, x.end, height - 6, anchor="end", class_="axis-title"),
    ]
    for value in y.ticks(5):
        parts.append(tag("line", x1=x.start, x2=x.end, y1=y(value), y2=y(value), class_="grid"))
        parts.append(label(tick_text(value), x.start - 7, y(value) + 4, anchor="end", class_="tick"))
    ticks = list(at) if at is not None else [(value, tick_text(value)) for value in x.ticks(6)]
    kept = apart([x(value) for value, _ in ticks], [text_width(text, 11) for _, text in ticks])
    for (value, text), shown in zip(ticks, kept, strict=True):
        parts.append(tag("line", x1=x(value), x2=x(value), y1=floor, y2=floor + 4, class_="axis"))
        if shown:
            parts.append(label(text, x(value), floor + 17, anchor="middle", class_="tick"))
    parts.append(tag("line", x1=x.start, x2=x.end, y1=floor, y2=floor, class_="axis"))
    assert top < floor
    return join(parts)


def mark(tip: str, x: float, y: float, *drawing: Markup, batch: int | None = None) -> Markup:
    """A mark that has a value: its drawing, and the value in words, which the pointer or the keyboard reveals."""
    return tag("g", tag("title", tip), *drawing, class_="mark", data_at=f"{x:.1f} {y:.1f}", data_batch=batch)


def interval(x: float, low: float, high: float, y: Scale, class_: str) -> Markup:
    """A vertical interval at `x` with short end lines; an end beyond the frame has no line."""
    ends = "".join(f"M{x - 4:.1f} {y(end):.1f}h8" for end in (low, high) if y.low <= end <= y.high)
    low, high = (y(min(max(end, y.low), y.high)) for end in (low, high))
    return tag("path", d=f"M{x:.1f} {low:.1f}V{high:.1f}{ends}", class_=f"interval {class_}")


def arrow(x: float, y: float, class_: str) -> Markup:
    """An arrow up from a value that is only a lower bound."""
    return tag("path", d=f"M{x:.1f} {y:.1f}v-13m-4 5l4 -5l4 5", class_=f"arrow {class_}")


def path(points: Sequence[tuple[float, float]]) -> str:
    """The path data of a line through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)

"""The card: the answer as a picture of 1200 x 630 for sharing, drawn from the page's own parts, with nothing loaded."""

import textwrap

from cluster.report.page import losses, palette
from cluster.report.page.chart import Chart
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag

WIDTH, HEIGHT = 1200, 630
_LEFT, _CHART_LEFT, _CHART_TOP, _CHART_SCALE = 56, 690, 130, 1.28
# Characters of the font are at most this wide, as a part of its size.
_WIDE = 0.61
_MOST_LINES = 8


def card(facts: Facts, group: Group, answer: str) -> str:
    """The card as a whole SVG file, in light colours."""
    chart = losses.chart(facts, group)
    colours = len(facts.colours)
    style = palette.literal(palette.chart_style(colours), colours) + _style()
    width = (_CHART_LEFT if isinstance(chart, Chart) else WIDTH) - _LEFT - 40
    size = next(
        (size for size in (36, 32, 28, 24) if len(_wrapped(answer, width, size)) <= _MOST_LINES),
        22,
    )
    name = f"{facts.study}{f': {group.heading}' if group.heading else ''}"
    parts = [
        tag("rect", width=WIDTH, height=HEIGHT, class_="ground"),
        tag("text", "batchscope", x=_LEFT, y=66, class_="brand"),
        tag("text", textwrap.shorten(name, 60, placeholder="..."), x=_LEFT, y=112, class_="study"),
        *(
            tag("text", line, x=_LEFT, y=172 + size * 1.35 * number, style=f"font-size:{size}px", class_="answer")
            for number, line in enumerate(_wrapped(answer, width, size)[: _MOST_LINES + 2])
        ),
        *([_chart(chart)] if isinstance(chart, Chart) else []),
        tag("text", _badge(facts, group), x=_LEFT, y=HEIGHT - 48, class_="badge"),
    ]
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tag(
        "svg",
        tag("title", f"{facts.study}: {answer}"),
        tag("style", Markup(style)),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        class_="chart",
    )


def _chart(chart: Chart) -> Markup:
    frame = tag("rect", width=chart.width + 20, height=chart.height + 40, x=-10, y=-34, rx=8, class_="sheet")
    title = tag("text", chart.title, x=2, y=-12, class_="strong")
    move = f"translate({_CHART_LEFT} {_CHART_TOP}) scale({_CHART_SCALE})"
    return tag("g", join([frame, title, chart.drawing]), transform=move)


def _wrapped(text: str, width: float, size: float) -> list[str]:
    return textwrap.wrap(text.replace("\u00a0", " "), int(width / (_WIDE * size)), break_long_words=True)


def _badge(facts: Facts, group: Group) -> str:
    """What the answer rests on, in a few words."""
    declared = facts.verdict.declared
    runs = [cell.completed for cell in group.verdict.cells if cell.completed]
    count = "" if not runs else f"n = {min(runs)}" if min(runs) == max(runs) else f"n = {min(runs)} to {max(runs)}"
    margin = None
    if declared.margin is not None:
        margin = (
            f"margin of {declared.margin:g} {'declared late' if declared.margin_late else 'declared before the runs'}"
        )
    tuned = "rates tuned on other seeds" if any(cell.tuned for cell in group.verdict.cells) else "no rate tuned"
    return ", ".join(filter(None, ["measured", count, tuned, margin]))


def _style() -> str:
    ink, soft, ground, paper, grid = (palette.LIGHT[name] for name in ("ink", "soft", "ground", "paper", "grid"))
    return (
        f".ground{{fill:{ground}}}.sheet{{fill:{paper};stroke:{grid}}}.chart .brand{{fill:{soft};font-size:20px;"
        f"font-weight:600}}.chart .study{{font-size:34px;font-weight:700;fill:{ink}}}.chart .answer{{font-weight:600;"
        f"fill:{ink}}}.chart .badge{{font-size:21px;fill:{soft}}}"
    )

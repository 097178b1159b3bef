"""The live view as HTML, for a notebook's cell: the trials that run and that ended last, and how far the study is."""

from collections.abc import Sequence

from cluster.report.live import LiveView
from cluster.report.live_table import WIDE, ended_rows, running_rows
from cluster.report.page.markup import Markup, join, tag

MOST_RUNNING = 16


def html(view: LiveView, now: float) -> Markup:
    """The view at the time `now`, on the clock of the view's reports; nothing in it is taken for markup."""
    running = list(view.running)
    more = len(running) - MOST_RUNNING
    return tag(
        "div",
        _table(running_rows(view, running[:MOST_RUNNING], now, WIDE)),
        tag("p", f"and {more} more") if more > 0 else "",
        _table(ended_rows(list(view.recent), WIDE)),
        tag("progress", max="1", value=f"{view.fraction():.4f}", style="width: 30em"),
        tag("p", view.sentence(now)),
    )


def _table(rows: Sequence[dict[str, str]]) -> Markup:
    if not rows:
        return Markup("")
    head = tag("tr", *(tag("th", name, scope="col") for name in rows[0]))
    return tag("table", tag("thead", head), tag("tbody", *(tag("tr", join(map(_cell, row.values()))) for row in rows)))


def _cell(text: str) -> Markup:
    return tag("td", text)

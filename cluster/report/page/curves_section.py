"""The curves' part of the page: one clock at a time, with the ranking on that clock and a choice of batch sizes.

All four clocks are in the page, and its style shows the chosen one, which works without a script.
"""

from collections.abc import Mapping

from cluster.report.page import curves as over_time
from cluster.report.page import rank_changes, ranks
from cluster.report.page.chart import Chart, Missing
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, tag
from cluster.report.page.series import Clock, clocks
from cluster.report.page.tables import figure_table


def curves(facts: Facts, group: Group, heading: str) -> Markup:
    """The section, or a line in its place if no curve is known."""
    title = tag("h2", f"Loss over time{f': {heading}' if heading else ''}")
    found = clocks(group)
    drawn = {name: over_time.chart(facts, group, clock) for name, clock in found.items()}
    known = {name: chart for name, chart in drawn.items() if isinstance(chart, Chart)}
    if not known:
        first = drawn["updates"]
        assert isinstance(first, Missing)
        return tag("section", title, tag("p", f"{first.title}: {first.why}."))
    lead = tag("p", "The same runs on four clocks: which batch size is ahead depends on what is held equal.")
    panels = (_panel(facts, group, found, name, wide) for name, wide in known.items())
    controls = tag("div", _clocks(list(known), group), _batches(group), class_="controls")
    return tag("section", title, lead, controls, *panels, class_="curves", id=f"curves{group.suffix}")


def _clocks(known: list[str], group: Group) -> Markup:
    name = f"clock{group.suffix}"
    boxes = (
        tag("label", tag("input", type="radio", name=name, value=clock, checked=clock == known[0]), clock)
        for clock in known
    )
    return tag("fieldset", tag("legend", "x axis"), *boxes, class_="clocks")


def _batches(group: Group) -> Markup:
    name = f"batch{group.suffix}"
    boxes = (
        tag(
            "label",
            tag("input", type="checkbox", name=name, value=f"{cell.global_batch}", checked=True),
            f"{cell.global_batch}",
        )
        for cell in group.cells
        if any(run.curve.updates.size for run in cell.runs)
    )
    buttons = (tag("button", word, type="button", data_check=word, class_="scripted") for word in ("all", "none"))
    return tag("fieldset", tag("legend", "batch sizes"), *boxes, *buttons, class_="batches")


def _panel(facts: Facts, group: Group, found: Mapping[str, Clock], name: str, wide: Chart) -> Markup:
    narrow, ranking = over_time.chart(facts, group, found[name], "narrow"), ranks.chart(facts, group, found[name])
    assert isinstance(narrow, Chart)
    figure = tag(
        "figure",
        tag("figcaption", tag("h3", wide.title), tag("p", wide.note)),
        tag("div", wide.inline(), class_="plot over-time wide"),
        tag("div", narrow.inline(), class_="plot over-time narrow"),
        figure_table(wide.table, wide.title, f"{facts.study}-{wide.name}.csv"),
    )
    beside = [_ranking(ranking, facts)]
    changes = rank_changes.chart(facts, group, found)
    if isinstance(ranking, Chart) and isinstance(changes, Chart):
        beside.append(_figure(changes, facts))
    return tag("div", figure, tag("div", *beside, class_="beside"), class_=f"panel on-{name}")


def _ranking(ranking: Chart | Missing, facts: Facts) -> Markup:
    if isinstance(ranking, Missing):
        return tag("p", f"{ranking.title}: {ranking.why}.", class_="aside-note")
    return _figure(ranking, facts)


def _figure(one: Chart, facts: Facts) -> Markup:
    return tag(
        "figure",
        tag("figcaption", tag("h3", one.title), tag("p", one.note)),
        tag("div", one.inline(), class_="plot"),
        figure_table(one.table, one.title, f"{facts.study}-{one.name}.csv"),
    )


def charts(facts: Facts, group: Group) -> list[Chart]:
    """The curves and rankings of all clocks, for separate files."""
    known = clocks(group)
    found = [make(facts, group, clock) for clock in known.values() for make in (over_time.chart, ranks.chart)]
    if not ranks.stopped_at_target(facts):
        found.append(rank_changes.chart(facts, group, known))
    return [one for one in found if isinstance(one, Chart)]

"""The curves' part of the page: one clock at a time, with the ranking on that clock and a choice of batch sizes.

All four clocks are in the page, and its style shows the chosen one, which works without a script. Another metric or
scale, and the trials that do not count, are drawn by the script from the numbers in the page (`curves.js`).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cluster.analysis.cells import Floats
from cluster.report.page import curves as over_time
from cluster.report.page import rank_changes, ranks
from cluster.report.page.chart import Chart, Missing
from cluster.report.page.facts import Facts, Group
from cluster.report.page.look import Look, loss_word
from cluster.report.page.markup import Markup, tag
from cluster.report.page.recorded import COUNTED, MEANT, METRICS, RUNNING, TRIED, Recorded, as_json
from cluster.report.page.series import Clock, clocks
from cluster.report.page.series import early as early_clocks
from cluster.report.page.tables import figure_table


def curves(facts: Facts, group: Group, heading: str) -> Markup:
    """The section of a group, or a line in its place if no curve is known."""
    found = clocks(group)
    title = f"Curves{f': {heading}' if heading else ''}"
    beside = {name: list(_beside(facts, group, found, name)) for name in found}
    return section(facts.look, title, found, group.trials, beside=beside, suffix=group.suffix)


def early(facts: Facts) -> Markup:
    """The section of running trials to which nothing that has ended belongs; empty if there are none."""
    return section(facts.look, "Curves", early_clocks(facts.early), facts.early) if facts.early else Markup("")


def section(
    look: Look,
    heading: str,
    found: Mapping[str, Clock],
    trials: Sequence[Recorded],
    *,
    beside: Mapping[str, Sequence[Markup]] | None = None,
    suffix: str = "",
) -> Markup:
    """Curves on every clock, with what stands beside them on each, and all that the script needs to draw others."""
    title = tag("h2", heading)
    drawn = {name: over_time.chart(look, clock, suffix=suffix) for name, clock in found.items()}
    known = {name: chart for name, chart in drawn.items() if isinstance(chart, Chart)}
    if not known:
        first = drawn["updates"]
        assert isinstance(first, Missing)
        return tag("section", title, tag("p", f"{first.title}: {first.why}."))
    several = "The same runs on four clocks: which one is ahead depends on what is held equal."
    lead = tag("p", several if len(trials) != 1 else "Against updates, examples, epochs or seconds.")
    controls = tag(
        "div",
        _choice("x axis", f"clock{suffix}", {name: name for name in known}, class_="clocks"),
        *_drawings(look, trials, suffix),
        _curves(look, found["updates"], suffix),
        class_="controls",
    )
    panels = (_panel(look, found[name], wide, (beside or {}).get(name, ())) for name, wide in known.items())
    return tag(
        "section",
        title,
        lead,
        controls,
        *panels,
        class_="curves",
        id=f"curves{suffix}",
        data_curves=as_json(trials, look.colours) if trials else None,
        data_loss=loss_word(look),
        data_called=look.called,
        data_target=repr(look.target) if look.target is not None else None,
    )


def _drawings(look: Look, trials: Sequence[Recorded], suffix: str) -> Iterator[Markup]:
    """What only the script draws: another metric or scale, and the trials that chose a learning rate."""
    known = [name for name, column in METRICS.items() if any(_is_known(one.evaluations[column]) for one in trials)]
    word = loss_word(look)
    words = {"validation": f"validation {word}", "training": f"training {word}", "gap": "gap", "accuracy": "accuracy"}
    shown = [*known, *(["gap"] if {"validation", "training"} <= set(known) else [])]
    if len(shown) > 1:
        choices = {name: text for name, text in words.items() if name in shown}
        yield _choice("y axis", f"metric{suffix}", choices, class_="scripted")
    if shown:
        yield _choice("scale", f"scale{suffix}", {"linear": "linear", "log": "log"}, class_="scripted")
    counted = any(one.kind in (MEANT, COUNTED) for one in trials)
    also = {"tried": ("rates tried", TRIED), "running": ("running", RUNNING)}
    boxes = [
        tag(
            "label",
            tag("input", type="checkbox", name=f"also{suffix}", value=value, checked=kind == RUNNING or not counted),
            text,
        )
        for value, (text, kind) in also.items()
        if any(one.kind == kind for one in trials)
    ]
    if boxes:
        yield tag("fieldset", tag("legend", "also"), *boxes, class_="scripted")


def _is_known(values: Floats) -> bool:
    return bool(np.isfinite(values).any())


def _choice(legend: str, name: str, choices: Mapping[str, str], *, class_: str) -> Markup:
    """One of several, the first at the beginning."""
    first = next(iter(choices))
    boxes = (
        tag("label", tag("input", type="radio", name=name, value=value, checked=value == first), text)
        for value, text in choices.items()
    )
    return tag("fieldset", tag("legend", legend), *boxes, class_=class_)


def _curves(look: Look, clock: Clock, suffix: str) -> Markup:
    """The curves to draw, each with its colour, so that lines without room for a label are named here."""
    boxes = (
        tag(
            "label",
            tag("input", type="checkbox", name=f"batch{suffix}", value=f"{one.batch}", checked=True),
            _swatch(look.colours[one.batch]),
            f"{one.batch}",
        )
        for one in clock.series
    )
    buttons = (tag("button", word, type="button", data_check=word, class_="scripted") for word in ("all", "none"))
    legend = "batch sizes" if look.called == "B =" else f"{look.called}s"
    return tag("fieldset", tag("legend", legend), *boxes, *buttons, class_="batches")


def _swatch(colour: int) -> Markup:
    line = tag("path", d="M1 5h14", class_=f"line s{colour}")
    return tag("svg", line, class_="swatch", viewBox="0 0 16 10", aria_hidden="true")


def _panel(look: Look, clock: Clock, wide: Chart, beside: Sequence[Markup]) -> Markup:
    narrow = over_time.chart(look, clock, "narrow")
    assert isinstance(narrow, Chart)
    figure = tag(
        "figure",
        tag("figcaption", tag("h3", wide.title), tag("p", wide.note)),
        tag("div", wide.inline(), class_="plot over-time wide"),
        tag("div", narrow.inline(), class_="plot over-time narrow"),
        figure_table(wide.table, wide.title, f"{look.study}-{wide.name}.csv"),
    )
    parts = [tag("div", *beside, class_="beside")] if beside else []
    return tag("div", figure, *parts, class_=f"panel on-{clock.name}", data_clock=clock.name)


def _beside(facts: Facts, group: Group, found: Mapping[str, Clock], name: str) -> Iterator[Markup]:
    """The ranking on this clock, and how it changes with the clock."""
    ranking, changes = ranks.chart(facts, group, found[name]), rank_changes.chart(facts, group, found)
    yield _ranking(ranking, facts)
    if isinstance(ranking, Chart) and isinstance(changes, Chart):
        yield _figure(changes, facts)


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
    found: list[Chart | Missing] = []
    for clock in known.values():
        found += [over_time.chart(facts.look, clock, suffix=group.suffix), ranks.chart(facts, group, clock)]
    if not ranks.stopped_at_target(facts):
        found.append(rank_changes.chart(facts, group, known))
    return [one for one in found if isinstance(one, Chart)]

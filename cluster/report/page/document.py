"""The page's document: its sections in the order in which they matter."""

from collections.abc import Iterable, Sequence

import pyarrow.compute as pc

from cluster.report.page import by_class, provenance, verdict_section
from cluster.report.page.chart import Chart, Missing
from cluster.report.page.curves_section import curves, early
from cluster.report.page.facts import Facts
from cluster.report.page.frame import framed, script, style
from cluster.report.page.look import loss_word
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.results import results
from cluster.report.page.scales import value_text
from cluster.report.page.tables import figure_table
from cluster.report.points import progress_line
from cluster.report.studies import about
from cluster.summary import query

# The files of the script, in the order in which they need one another.
SCRIPT = ("values.js", "sorting.js", "saving.js", "curves.js", "address.js", "follow.js", "begin.js")


def document(
    facts: Facts,
    plots: Sequence[tuple[str, Sequence[Chart | Missing]]],
    refresh_seconds: int | None,
    trials_at: str | None = None,
) -> str:
    """The whole page; `plots` are those of each group with the group's heading, which is empty for a single group.

    `trials_at` is the beginning of the addresses of its trials' own pages, if there are such pages.
    """
    return framed(
        f"{facts.study} - batchscope",
        _header(facts),
        tag(
            "main",
            verdict_section.section(facts),
            early(facts),
            *(
                join(
                    [
                        curves(facts, group, heading),
                        _plots(heading, found, facts),
                        by_class.section(facts, group, heading),
                    ]
                )
                for group, (heading, found) in zip(facts.groups, plots, strict=True)
            ),
            _section("results", "Results", results(facts, trials_at)),
            _section("warnings", "Warnings", verdict_section.warnings(facts)),
            _section("measured", "How it was measured", provenance.section(facts)),
        ),
        tag(
            "footer",
            tag("p", "Made by batchscope. This file is complete and loads nothing from the network."),
        ),
        style=style(len(facts.colours), by_class.shades(), hidden_curves(facts.colours)),
        script=script(SCRIPT),
        refresh_seconds=refresh_seconds,
        data_study=facts.study,
    )


def hidden_curves(batches: Iterable[int]) -> str:
    """The rules that hide batch sizes that are not chosen from the curves."""
    return "".join(
        f'.curves:has(input[value="{batch}"]:not(:checked)) .over-time [data-batch="{batch}"]{{display:none}}'
        for batch in batches
    )


def _section(name: str, heading: str, *inner: str) -> Markup:
    return tag("section", tag("h2", heading), *inner, id=name)


def _header(facts: Facts) -> Markup:
    counts = query.states(facts.newest)
    earlier = query.states(facts.trials)["trials"] - counts["trials"]
    ended, asked = counts["trials"], facts.asked
    running = asked is not None and ended < asked
    parts = [
        tag("p", "batchscope", class_="brand"),
        tag("h1", facts.study),
        *(tag("p", words) for words in map(about, facts.specs.to_pylist()[-1:]) if words),
        tag("p", progress_line(counts, asked, earlier=earlier), _last(facts), class_="progress-line"),
    ]
    if running:
        parts.append(tag("progress", value=ended, max=asked or 1, aria_label="trials that have ended"))
    return tag("header", *parts, _key_facts(facts))


def _list(values: object) -> str:
    return ", ".join(map(str, values)) if isinstance(values, list) else f"{values}"


def _last(facts: Facts) -> str:
    ended_at = pc.max(facts.trials["ended_at"]).as_py()
    return f"; the last on {ended_at:%Y-%m-%d at %H:%M} UTC" if ended_at else ""


def _key_facts(facts: Facts) -> Markup:
    declared = facts.verdict.declared
    seeds, late = len(declared.spec["axes"]["seeds"]), len(declared.seeds_late)
    cost = pc.sum(facts.trials["cost_usd"]).as_py()
    sources = {"automatic": "automatic, from the screen", "declared": "declared", None: ""}
    target = "none" if declared.target is None else f"{value_text(declared.target)}, {sources[declared.target_source]}"
    pairs = [
        ("batch sizes", _list(declared.spec["axes"]["global_batch"])),
        (f"target, validation {loss_word(facts)}", target + _late(declared.target, late=declared.target_late)),
        (
            "margin",
            ("none" if declared.margin is None else f"{declared.margin:g}")
            + _late(declared.margin, late=declared.margin_late),
        ),
        ("seeds", f"{seeds}{f' ({late} added too late)' if late else ''}"),
        ("cost so far", "not known" if cost is None else f"{cost:,.2f} usd"),
    ]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), class_="keys")


def _late(in_time: float | None, *, late: bool) -> str:
    if not late:
        return ""
    return " (declared too late)" if in_time is None else " (the newest spec's came too late)"


def _plots(heading: str, found: Sequence[Chart | Missing], facts: Facts) -> Markup:
    drawn = [one for one in found if isinstance(one, Chart)]
    missing = [one for one in found if isinstance(one, Missing)]
    cards = (_card(one, facts.study) for one in drawn)
    parts: list[str] = [tag("div", *cards, class_="cards")]
    if missing:
        titles = {why: [one.title for one in missing if one.why == why] for why in (one.why for one in missing)}
        listed = tag("ul", *(tag("li", tag("b", ", ".join(of_one)), f": {why}.") for why, of_one in titles.items()))
        parts.append(tag("div", tag("h3", "Not drawn"), listed, class_="cannot"))
    return tag("section", tag("h2", f"By batch size{f': {heading}' if heading else ''}"), *parts)


def _card(one: Chart, study: str) -> Markup:
    return tag(
        "figure",
        tag("figcaption", tag("h3", one.title), tag("p", one.note)),
        tag("div", one.inline(), class_="plot"),
        figure_table(one.table, one.title, f"{study}-{one.name}.csv"),
        id=one.name,
    )

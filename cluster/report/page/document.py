"""The page's document: its sections in the order in which they matter, under a strict content-security policy."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

import pyarrow.compute as pc

from cluster.report.page import palette, provenance, verdict_section
from cluster.report.page.chart import Chart, Missing
from cluster.report.page.curves_section import curves
from cluster.report.page.facts import Facts
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.results import results
from cluster.report.page.scales import value_text
from cluster.report.page.tables import figure_table
from cluster.report.points import progress_line
from cluster.report.studies import about
from cluster.summary import query


def document(facts: Facts, plots: Sequence[tuple[str, Sequence[Chart | Missing]]], refresh_seconds: int | None) -> str:
    """The whole page; `plots` are those of each group with the group's heading, which is empty for a single group."""
    colours = len(facts.colours)
    style = palette.page_style(colours) + palette.chart_style(colours) + _file("page.css") + _choices(facts)
    script = _file("page.js")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        *([_refresh(refresh_seconds)] if refresh_seconds else []),
        tag("title", f"{facts.study} - batchscope"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        _header(facts),
        tag(
            "main",
            verdict_section.section(facts),
            *(
                join([curves(facts, group, heading), _plots(heading, found, facts)])
                for group, (heading, found) in zip(facts.groups, plots, strict=True)
            ),
            _section("results", "Results", results(facts)),
            _section("warnings", "Warnings", verdict_section.warnings(facts)),
            _section("measured", "How it was measured", provenance.section(facts)),
        ),
        tag(
            "footer",
            tag("p", "Made by batchscope. This file is complete and loads nothing from the network."),
        ),
        tag("script", Markup(script)),
        data_study=facts.study,
        data_refresh=refresh_seconds,
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def policy(style: str, script: str) -> str:
    """What the browser may do with the page: apply this style, run this script, and nothing else."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    style_hash, script_hash = hashes
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _file(name: str) -> str:
    return files("cluster.report.page").joinpath(name).read_text(encoding="utf-8")


def _refresh(seconds: int) -> Markup:
    """The reload for browsers without scripts; with a script the page reloads itself and lets readers stop that."""
    return tag("noscript", tag("meta", http_equiv="refresh", content=f"{seconds}"))


def _choices(facts: Facts) -> str:
    """The rules that hide batch sizes that are not chosen from the curves."""
    return "".join(
        f'.curves:has(input[value="{batch}"]:not(:checked)) .over-time [data-batch="{batch}"]{{display:none}}'
        for batch in facts.colours
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
        ("target, validation loss", target + _late(declared.target, late=declared.target_late)),
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

"""A study's page, and its plots as files: what `report` writes, `serve` shows and papers print."""

from cluster.report.page import loss_by_rate, losses, machine, noise, quality, rates, robustness, to_target, tradeoff
from cluster.report.page.chart import Chart, Missing
from cluster.report.page.curves_section import charts as curve_charts
from cluster.report.page.document import document
from cluster.report.page.facts import Facts, Group, read
from cluster.summary.store import Summary


def page(summary: Summary, study: str, *, refresh_seconds: int | None = None, trials_at: str | None = None) -> str:
    """One self-contained HTML document on a study; for a running study, give `refresh_seconds`.

    `trials_at` is the beginning of the addresses of its trials' own pages, where they are served.

    Raises:
        InputError: there is no such study, or it has no spec.
    """
    facts = read(summary, study)
    plots = [(group.heading, _plots(facts, group)) for group in facts.groups]
    return document(facts, plots, refresh_seconds, trials_at)


def charts(summary: Summary, study: str) -> dict[str, str]:
    """The study's plots that its data support, by name, each as a whole SVG file in light colours.

    Raises:
        InputError: there is no such study, or it has no spec.
    """
    facts = read(summary, study)
    found = [one for group in facts.groups for one in (*_plots(facts, group), *curve_charts(facts, group))]
    return {one.name: one.standalone(len(facts.colours)) for one in found if isinstance(one, Chart)}


def _plots(facts: Facts, group: Group) -> list[Chart | Missing]:
    return [
        losses.chart(facts, group),
        quality.chart(facts, group),
        *(to_target.chart(facts, group, measure) for measure in ("updates", "examples", "seconds", "usd")),
        tradeoff.chart(facts, group),
        loss_by_rate.chart(facts, group),
        rates.chart(facts, group),
        robustness.chart(facts, group),
        machine.speed(facts, group),
        machine.memory(facts, group),
        noise.chart(facts, group),
    ]

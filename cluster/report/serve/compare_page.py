"""Up to four studies or trials beside each other: their curves on one another, their results, and what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cluster.report.page import curves_section
from cluster.report.page.document import SCRIPT, hidden_curves
from cluster.report.page.frame import framed, script, style
from cluster.report.page.look import Look
from cluster.report.page.markup import Markup, tag
from cluster.report.page.series import compared as on_clocks
from cluster.report.serve.compared import Side
from cluster.report.serve.config import differing
from cluster.report.serve.html import navigation

MOST = 4


def compare_page(found: Sequence[Side]) -> str:
    """The page; the curves are numbered in the order of `found`."""
    numbers = range(1, len(found) + 1)
    tasks = {one.task for one in found}
    look = Look(
        study="compared",
        task=tasks.pop() if len(tasks) == 1 else None,
        target=None,
        colours={number: number - 1 for number in numbers},
        called="curve",
    )
    trials = [replace(trial, curve=number) for number, one in zip(numbers, found, strict=True) for trial in one.trials]
    curves = (
        curves_section.section(look, "Curves", on_clocks(trials), trials)
        if trials
        else tag("p", "None of them has an evaluation yet.")
    )
    differ, same = differing([one.config for one in found])
    configs = [one.config for one in found]
    return framed(
        "batchscope: compared",
        navigation(),
        tag(
            "main",
            tag("h1", "Compared"),
            _sheet("What came out; a study stands by its batch size with the lowest mean loss", found, _results(found)),
            curves,
            tag("h2", "What was asked"),
            _sheet("What differs", found, _rows(configs, differ))
            if differ
            else tag("p", "Nothing differs in what was asked.", class_="aside-note"),
            tag(
                "details",
                tag("summary", f"The same in all: {len(same)} settings"),
                _sheet("What is the same", found, _rows(configs, same)),
                id="same",
            ),
        ),
        style=style(len(found), hidden_curves(numbers)),
        script=script(SCRIPT),
        data_study="compared",
    )


def _results(found: Sequence[Side]) -> list[tuple[str, list[str]]]:
    names = list(dict.fromkeys(name for one in found for name in one.results))
    return [(name, [one.results.get(name, "-") for one in found]) for name in names]


def _rows(configs: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[tuple[str, list[str]]]:
    return [(key, [config.get(key, "-") for config in configs]) for key in keys]


def _sheet(caption: str, found: Sequence[Side], rows: Sequence[tuple[str, Sequence[str]]]) -> Markup:
    """A column for each of those that are compared."""
    links = (
        tag("th", f"{number} ", tag("a", one.name, href=one.address), scope="col")
        for number, one in enumerate(found, start=1)
    )
    head = tag("tr", tag("td"), *links)
    body = (tag("tr", tag("th", name, scope="row"), *(tag("td", text) for text in texts)) for name, texts in rows)
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_="sheet")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)

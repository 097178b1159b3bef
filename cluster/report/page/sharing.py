"""What a reader takes along from a page: the answer as Markdown, and as a picture."""

from collections.abc import Iterator, Sequence

from cluster.report.page.card import card
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markdown import markdown
from cluster.report.page.markup import Markup, tag
from cluster.report.page.tables import data_link


def sharing(facts: Facts, group: Group, answer: str, evidence: Sequence[str]) -> Iterator[Markup]:
    """A button and a link, which only the script makes useful."""
    name = f"{facts.study}{group.suffix}-card"
    yield tag("button", "Copy as Markdown", type="button", data_copy=markdown(facts, group, answer, evidence))
    svg = card(facts, group, answer).encode()
    yield data_link(svg, "image/svg+xml", f"{name}.svg", "Save as a picture (PNG)", picture=f"{name}.png")

"""`batchscope.Verdict`: what a study shows about its batch sizes, in sentences, as a table and as data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .shown import Shown
from .table import Table

if TYPE_CHECKING:
    from cluster.analysis.verdict import Verdict as Judged


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """The verdict on a study; `judged` holds all its contents as frozen dataclasses.

    >>> verdict = batchscope.Summary("summary").verdict("wiki")
    >>> print(verdict)                           # its sentences, then its warnings
    >>> verdict.table.to_pandas()                # a row for each batch size
    >>> verdict.judged.groups[0].reference       # the batch size that the others are compared with
    """

    judged: "Judged"

    @property
    def sentences(self) -> list[str]:
        """What can be concluded, most important first; each is no stronger than its evidence."""
        from cluster.report.verdict import sentences

        return sentences(self.judged)

    @property
    def warnings(self) -> list[str]:
        """What cannot be concluded and why, and what weakens the rest."""
        from cluster.report.verdict import warnings

        return warnings(self.judged)

    @property
    def table(self) -> Table:
        """A row for each batch size: its loss, its difference from the reference, and what reaching the target took."""
        from cluster.report import verdict_table

        return Table(verdict_table.table(self.judged), "verdict", tuple(verdict_table.COLUMNS))

    def to_json(self) -> str:
        """The same document as `batchscope results STUDY --verdict --format json`."""
        from cluster.report import verdict_table

        return verdict_table.to_json(self.judged, self.sentences)

    def __str__(self) -> str:
        """The sentences and the warnings, one on each line."""
        return "\n".join([*self.sentences, *self.warnings])

    def __repr__(self) -> str:
        """The table above the sentences, as the command prints them."""
        return f"{self.table!r}\n\n{self}"

    def _repr_html_(self) -> str:
        """The sentences above the table, for a notebook; names that users chose are escaped."""
        from cluster.report.page.markup import Markup, join, tag

        lines = [tag("p", line) for line in self.sentences]
        cautions = [tag("li", line) for line in self.warnings]
        return join([*lines, tag("ul", *cautions) if cautions else "", Markup(self.table._repr_html_())])

"""`batchscope.Summary`: the results of all studies, and queries on them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .loading import ModelChoice, TrainedModel, loaded
from .plot import Plot
from .table import Table
from .verdict import Verdict

if TYPE_CHECKING:
    from cluster.summary.store import Summary as Stored


@dataclass(frozen=True)
class Summary:
    """The results at `uri`, a folder or `s3://bucket/prefix`. Reading never writes, and works while studies run.

    >>> summary = batchscope.Summary("summary")
    >>> summary.studies()
    >>> summary.points("wiki").to_pandas()
    >>> summary.verdict("wiki").sentences
    >>> summary.plots("wiki")["losses"]
    >>> model, tokenizer, labels = summary.best_model("wiki")
    >>> summary.sql("select study, min(best_validation_loss) from trials group by study")

    Objects that cannot be read are left out, each with a Python warning that names it.
    """

    uri: str | os.PathLike[str] = "./summary"

    def studies(self) -> Table:
        """One row for each study: what it asks for, how its trials ended, and its lowest mean validation loss."""
        from cluster.report.points import STUDIES
        from cluster.summary import query

        return Table(query.overview(self._stored), "studies", tuple(STUDIES))

    def trials(self, study: str | None = None) -> Table:
        """One row for each attempt at a trial that has ended, for one study or for all.

        Raises:
            InputError: there is no such study.
        """
        from cluster.summary import query

        self._known(study)
        return Table(query.trials(self._stored, study), "trials")

    def evaluations(self, study: str | None = None) -> Table:
        """Every evaluation, for one study or for all: loss and accuracy on the validation split at one moment.

        Raises:
            InputError: there is no such study.
        """
        from cluster.summary import query

        self._known(study)
        return Table(query.evaluations(self._stored, study), "evaluations")

    def points(self, study: str | None = None, *, by: Sequence[str] | None = None, where: str | None = None) -> Table:
        """One row for each point of the axes: means, deviations and 95 % intervals over the seeds.

        >>> summary.points("wiki", by=["global_batch"], where="optimizer = 'adam'")

        Raises:
            InputError: there is no such study or axis, or the condition cannot be evaluated.
        """
        from cluster.report.points import POINTS, STUDIES
        from cluster.summary import query

        self._known(study)
        trials = query.trials(self._stored, study, columns=query.NEEDED if where is None else None)
        points = query.points(trials, by=by, where=where)
        if study is not None and query.task(self._stored, study) == "language_model":
            points = query.with_perplexity(points)
        return Table(points, "points", tuple(POINTS if study is not None else [STUDIES[0], *POINTS]))

    def verdict(self, study: str) -> Verdict:
        """What the study shows about its batch sizes, and what it cannot show.

        Raises:
            InputError: there is no such study, or its spec cannot be read.
        """
        from cluster.analysis.verdict import judge
        from cluster.summary import query

        self._known(study)
        stored = self._stored
        return Verdict(judge(query.specs(stored, study), query.trials(stored, study), query.evaluations(stored, study)))

    def plots(self, study: str) -> dict[str, Plot]:
        """The plots of the study's page that its data support, by name; a notebook draws one that ends a cell.

        Raises:
            InputError: there is no such study, or its spec cannot be read.
        """
        from cluster.report.page.page import charts

        self._known(study)
        return {name: Plot(name, svg) for name, svg in charts(self._stored, study).items()}

    def best_model(
        self, study: str, *, trial: str = "best", at: str = "best", data: str | None = None, factory: str | None = None
    ) -> TrainedModel:
        """The model with the lowest validation loss, its tokenizer and labels: see `batchscope.best_model`."""
        return loaded(self._stored, study, ModelChoice(trial=trial, at=at, data=data, factory=factory))

    def fits(self, study: str | None = None) -> Table:
        """One row for each epoch of each `model.fit` that `batchscope.log_fit` logged, for one name or for all.

        These runs are foreign: batchscope neither trained nor checked them. They are in no verdict and no mean.
        """
        from cluster.summary import query

        return Table(query.fits(self._stored, study), "foreign fits")

    def sql(self, text: str) -> Table:
        """The answer to one SELECT on the tables `studies`, `trials`, `evaluations`, `probes`, `fits` and `points`.

        DuckDB answers it in a separate process, which has bounded memory and time and can only read these tables.

        Raises:
            InputError: the text is not one SELECT, is wrong, or takes too much memory or time.
        """
        from cluster.summary import query

        return Table(query.sql(self._stored, text), "sql")

    @property
    def _stored(self) -> "Stored":
        from cluster.summary.store import Summary as Stored

        return Stored(os.fspath(self.uri))

    def _known(self, study: str | None) -> None:
        """Refuse a study that does not exist, and suggest the nearest name that does."""
        from cluster.summary import query

        if study is not None:
            query.asked(self._stored, study)

"""What a study declared before it could know who would win: its target, its margin and its seeds. Pure.

A margin or target first declared after the confirmations began may have been chosen by what they showed. It decides
nothing; the one declared in time, if any, still counts. Seeds added after that moment are used, but the promised error
rates hold only for the planned ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from cluster.analysis.asked import Specs, specs_of
from cluster.study import identity
from cluster.study.cell import CellKey, cell_of_row
from cluster.study.chosen_rates import choose
from cluster.study.experiment import stops_at_target
from cluster.study.protocol import SCREEN
from cluster.study.study import Study
from cluster.study.target import Begun, automatic
from cluster.summary import experiments, query
from cluster.summary.known_losses import losses as losses_of
from cluster.summary.tables import TIME


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A study's target and margin, both validation losses, as declared in time; None where there is none.

    `target_late` and `margin_late` are true if the newest spec has a different one, which came too late; `seeds_late`
    are the seeds that came too late. `seen_before` is true if the target or margin, although in time, differs from the
    one with which confirmations of an earlier experiment under this name began, on some of the same seeds. `spec` holds
    the keys of the newest spec. `baseline_loss` and `best_constant_loss` are the losses of guesses that ignore the
    input (`trainer.data.manifest.Manifest`).
    """

    target: float | None
    target_source: Literal["declared", "automatic"] | None
    target_late: bool
    margin: float | None
    margin_late: bool
    seeds_late: tuple[int, ...]
    seen_before: bool
    spec: Mapping[str, Any]
    train_rows: int | None
    baseline_loss: float | None
    best_constant_loss: float | None

    @property
    def stops_at_target(self) -> bool:
        """Whether confirmations end at the target."""
        return stops_at_target(self.spec)


def declared(specs: Specs, trials: pa.Table, whole: Specs | None = None) -> Declared:
    """What the specs of one study declare, given its trials; `whole` are the specs given those of all experiments."""
    counting, newest = specs.in_force, specs.newest
    target = counting.target if counting else None
    loss = _automatic(specs, trials) if target == "auto" else target
    margin = counting.margin if counting else None
    return Declared(
        target=loss,
        target_source=None if loss is None else "automatic" if target == "auto" else "declared",
        target_late=newest.target != target,
        margin=margin,
        margin_late=newest.margin != margin,
        seeds_late=specs.late_seeds,
        seen_before=whole is not None and _seen_before(specs, whole),
        spec=newest.keys,
        train_rows=newest.row["train_rows"],
        baseline_loss=newest.row["baseline_loss"],
        best_constant_loss=newest.row["best_constant_loss"],
    )


def _seen_before(specs: Specs, whole: Specs) -> bool:
    now, before = specs.in_force, whole.confirmed
    if now is None or before is None or whole.began is None or now.declared_at <= whole.began:
        return False
    seeds = [set(spec.keys.get("axes", {}).get("seeds", ())) for spec in (now, before)]
    return (now.margin, now.target) != (before.margin, before.target) and not seeds[0].isdisjoint(seeds[1])


def begun(studies: pa.Table, trials: pa.Table) -> Begun | None:
    """What was declared when the confirmations of a study began; None before they did."""
    specs = specs_of(studies, trials)
    if specs.began is None:
        return None
    known = declared(specs, trials)
    return Begun(target=known.target, margin=known.margin, seeds=specs.counting.all_seeds)


def as_begun(study: Study, specs: pa.Table, trials: pa.Table) -> Study:
    """The study as its summary knows it: its spec's hash, the seeds before it, what its confirmations began with.

    `specs` and `trials` are the summary's rows for the study's name.
    """
    specs = query.with_spec(specs)
    study = replace(study, known_as=identity.known_as(study.spec, specs.to_pylist()))
    trials = experiments.of_spec(trials, study.row)
    return replace(
        study,
        screened_on=experiments.screened_on(trials),
        tried_on=experiments.tried_on(trials) if study.spec.protocol else (),
        begun=begun(specs, trials) if specs.num_rows and study.spec.protocol else None,
    )


def _automatic(specs: Specs, trials: pa.Table) -> float | None:
    """The automatic target of the spec in force, from the screen as it was when the confirmations began."""
    assert specs.in_force is not None
    cells = _screened(specs, trials)
    chosen = choose(cells, specs.in_force.rates, specs.in_force.row["baseline_loss"])
    return automatic(chosen, specs.in_force.margin)


def _screened(specs: Specs, trials: pa.Table) -> dict[CellKey, dict[float, float]]:
    """The mean loss over seeds at each rate of each cell.

    Losses are summed in the order of the seeds, as in `cluster.study.protocol`.
    """
    screen = query.finished(trials.filter(pc.field("phase") == SCREEN))
    if specs.began is not None:
        screen = screen.filter(pc.field("started_at") <= pa.scalar(specs.began, TIME))
    loss_of = losses_of(screen)
    keys = ("optimizer", "dtype", "settings", "global_batch", "learning_rate", "seed")
    ordered = screen.sort_by([(key, "ascending") for key in keys]).to_pylist()
    cells: dict[CellKey, dict[float, float]] = {}
    for (cell, rate), rows in groupby(ordered, key=lambda row: (cell_of_row(row), row["learning_rate"])):
        losses = [loss_of[row["trial_id"]] for row in rows]
        cells.setdefault(cell, {})[rate] = sum(losses) / len(losses)
    return cells

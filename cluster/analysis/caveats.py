"""Caveats: weaknesses of a study that can be detected automatically, each with the trials that caused it. Pure.

Whatever would break the numerics (a mean over ragged micro-batches, batch normalisation, an evaluation that depends on
a batch size, left padding, stateful layers) is refused before a study starts, so it needs no caveat.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

import numpy as np

from cluster.analysis import searching
from cluster.analysis.cells import Cell, missing_text
from cluster.analysis.counted import counted
from cluster.analysis.evidence import Caveat, Evidence, batches, ids
from cluster.study.looks import NONE
from trainer.trial import WITH_BETAS, WITH_DECAY

ENOUGH_SEEDS, ENOUGH_EVALUATIONS = 5, 20
MOST_DIVERGED, MOST_SPEED_VARIATION, MOST_CLIPPED = 0.3, 0.1, 0.5
# An epoch of fewer updates than this has batches of more than a tenth of the rows.
FEWEST_UPDATES_AN_EPOCH = 10
MOST_NAMED = 5
# Over an axis this wide, a fixed beta2 forgets after very different numbers of examples.
WIDE_AXIS = 8
_RULES = {
    "beta1": "{value: 0.9, at: 32}",
    "beta2": "{value: 0.999, at: 32}",
    "weight_decay": "{value: 0.004, at: 32, rate: 0.001}",
}
MOST_MORE_EVALUATIONS = 2


def caveats(evidence: Evidence) -> tuple[Caveat, ...]:
    """All caveats of a group of cells."""
    return tuple(chain.from_iterable(check(evidence) for check in _CHECKS))


def _epochs_only(evidence: Evidence) -> Iterable[Caveat]:
    if evidence.known.target is None and evidence.known.spec.get("target") is None:
        yield Caveat(code="no_target", text="without a target, only equal budgets are compared; set target: auto")
    examples = [run.row["examples"] for cell in evidence.cells for run in cell.runs if run.completed]
    updates = {cell.global_batch: [run.row["updates"] for run in cell.runs if run.completed] for cell in evidence.cells}
    means = {batch: float(np.mean(counts)) for batch, counts in updates.items() if counts}
    if examples and max(examples) <= 1.1 * min(examples) and max(means.values()) > 2 * min(means.values()):
        most, least = max(means, key=lambda batch: means[batch]), min(means, key=lambda batch: means[batch])
        text = (
            f"at equal examples, B = {most} made {means[most]:,.0f} updates and B = {least} made {means[least]:,.0f}: "
            "the final losses compare numbers of updates as much as batch sizes"
        )
        yield Caveat(code="unequal_updates", text=text)


def _large_batches(evidence: Evidence) -> Iterable[Caveat]:
    rows = evidence.known.train_rows
    cells = [cell for cell in evidence.cells if rows and cell.global_batch > rows / FEWEST_UPDATES_AN_EPOCH]
    if cells:
        text = f"fewer than {FEWEST_UPDATES_AN_EPOCH} updates an epoch at B = {batches(cells)}, with {rows:,} rows"
        yield Caveat(code="few_updates_an_epoch", text=text)


def _noise_near_all_rows(evidence: Evidence) -> Iterable[Caveat]:
    runs = [
        run
        for cell in evidence.cells
        for run in cell.runs
        if evidence.known.train_rows and (run.row["noise_scale"] or 0.0) > evidence.known.train_rows / 3
    ]
    if runs:
        text = "the gradient noise scale is near the number of rows: even the gradient of all rows is mostly noise"
        yield Caveat(code="noise_near_all_rows", text=text, trials=ids(runs))


def _divergence(evidence: Evidence) -> Iterable[Caveat]:
    for cell in evidence.cells:
        runs = {run.trial_id: run for run in (*cell.searched, *cell.runs)}.values()
        lost = [run for run in runs if run.diverged]
        if len(lost) > MOST_DIVERGED * len(runs):
            text = f"B = {cell.global_batch}: {len(lost)} of {len(runs)} trials diverged"
            yield Caveat(code="diverged", text=text, trials=ids(lost))
        gone = [run for run in (*cell.runs, *cell.unanswered) if not run.completed]
        completed = len(cell.planned) - sum(cell.missing.values())
        if cell.missing and completed:
            text = (
                f"B = {cell.global_batch}: judged on {completed} of {len(cell.planned)} planned seeds "
                f"({missing_text(cell.missing)})"
            )
            yield Caveat(code="runs_without_a_loss", text=text, trials=ids(gone))


def _lacking_evaluations(evidence: Evidence) -> Iterable[Caveat]:
    runs = {run.trial_id: run for cell in evidence.cells for run in (*cell.searched, *cell.runs)}.values()
    lacking = ids(run for run in runs if run.lacks_evaluations)
    if lacking:
        named = ", ".join(lacking[:MOST_NAMED]) + (" and others" if len(lacking) > MOST_NAMED else "")
        text = (
            f"{counted(len(lacking), 'completed trial')} ({named}) without all evaluations up to the end: files in the "
            "summary's `evaluations` are missing or damaged, and such confirmations do not count"
        )
        yield Caveat(code="lacking_evaluations", text=text, trials=lacking)


def _few_seeds(evidence: Evidence) -> Iterable[Caveat]:
    cells = [cell for cell in evidence.cells if 1 < len(cell.runs) < ENOUGH_SEEDS]
    if cells:
        text = f"fewer than {ENOUGH_SEEDS} seeds at B = {batches(cells)}: preliminary"
        yield Caveat(code="few_seeds", text=text, trials=ids(run for cell in cells for run in cell.runs))


def _late_seeds(evidence: Evidence) -> Iterable[Caveat]:
    late = sorted({seed for cell in evidence.cells if cell.tuned for seed in cell.late})
    if late:
        named = f"seed {late[0]} was" if len(late) == 1 else f"seeds {', '.join(map(str, late))} were"
        looks = (evidence.known.spec.get("protocol") or {}).get("looks", NONE) != NONE
        why = (
            "they are shown but decide nothing, since no look was declared with them; a study of another name, on "
            "other seeds, can declare more"
            if looks
            else "adding seeds after looking at results is wrong more often than the promised 5 %"
        )
        text = f"{named} added after the confirmations began: {why}"
        runs = [run for cell in evidence.cells if cell.tuned for run in cell.runs if run.seed in late]
        yield Caveat(code="late_seeds", text=text, trials=ids(runs))


def _seen_before(evidence: Evidence) -> Iterable[Caveat]:
    if evidence.known.seen_before and any(cell.tuned for cell in evidence.cells):
        text = (
            "the margin or target was declared after confirmations of another budget or setting had begun under this "
            "name on the same seeds, so it may have been chosen by what they showed; a study with another name and "
            "other seeds avoids that"
        )
        yield Caveat(code="seen_before", text=text)


def _mixed_machines(evidence: Evidence) -> Iterable[Caveat]:
    runs = [run for cell in evidence.cells for run in cell.runs]
    for column in ("device", "gpu_name", "kernel_path", "node_type"):
        kinds = sorted({str(run.row[column]) for run in runs if run.row[column] is not None})
        if len(kinds) > 1:
            text = f"trials ran with different {column.replace('_', ' ')}s ({', '.join(kinds)}): do not compare seconds"
            yield Caveat(code=f"mixed_{column}", text=text, trials=ids(runs))


def _unsteady_speed(evidence: Evidence) -> Iterable[Caveat]:
    cells, worst = [], 0.0
    for cell in evidence.cells:
        speeds = [run.row["examples_per_second"] for run in cell.runs if run.row["examples_per_second"]]
        variation = float(np.std(speeds, ddof=1) / np.mean(speeds)) if len(speeds) > 1 else 0.0
        if variation > MOST_SPEED_VARIATION:
            cells.append(cell)
            worst = max(worst, variation)
    if cells:
        text = (
            f"rows per second varied by up to {worst:.0%} between seeds at B = {batches(cells)}: do not trust seconds"
        )
        yield Caveat(code="unsteady_speed", text=text, trials=ids(run for cell in cells for run in cell.runs))


def _clipping(evidence: Evidence) -> Iterable[Caveat]:
    bound = evidence.known.spec.get("clip_norm")
    if bound is None:
        return
    cells = [cell for cell in evidence.cells if _share_above(cell, float(bound)) > MOST_CLIPPED]
    if cells and len(cells) < len(evidence.cells):
        text = f"the gradient was clipped at most evaluations for B = {batches(cells)} but not for the others"
        yield Caveat(code="uneven_clipping", text=text, trials=ids(run for cell in cells for run in cell.runs))


def _share_above(cell: Cell, bound: float) -> float:
    norms = np.concatenate([run.curve.gradient_norms for run in cell.runs] or [np.empty(0)])
    norms = norms[~np.isnan(norms)]
    return float(np.mean(norms > bound)) if norms.size else 0.0


def _fixed_settings(evidence: Evidence) -> Iterable[Caveat]:
    batches = [cell.global_batch for cell in evidence.cells]
    optimizer, spec = evidence.cells[0].optimizer, evidence.known.spec
    fixed = [
        name
        for name, having in (("beta1", WITH_BETAS), ("beta2", WITH_BETAS), ("weight_decay", WITH_DECAY))
        if optimizer in having and name not in spec.get("axes", {}) and not isinstance(spec.get(name), Mapping)
    ]
    if fixed and max(batches) >= WIDE_AXIS * min(batches):
        text = (
            f"{', '.join(fixed)} of {optimizer} {'are' if len(fixed) > 1 else 'is'} fixed by the update over "
            f"B = {min(batches)} to {max(batches)}, so the memory of the optimizer in examples grows with B; "
            f"{', '.join(f'{name}: {_RULES[name]}' for name in fixed)} keep{'' if len(fixed) > 1 else 's'} it constant"
        )
        yield Caveat(code=f"fixed_{'beta2' if 'beta2' in fixed else fixed[0]}", text=text)


def _uneven_evaluations(evidence: Evidence) -> Iterable[Caveat]:
    counts = {
        cell.global_batch: float(np.mean([run.curve.losses.size for run in cell.runs if run.completed]))
        for cell in evidence.cells
        if any(run.completed for run in cell.runs)
    }
    if counts and max(counts.values()) > MOST_MORE_EVALUATIONS * min(counts.values()):
        most, least = max(counts, key=lambda batch: counts[batch]), min(counts, key=lambda batch: counts[batch])
        even = {"epochs", "examples"} & set(evidence.known.spec.get("evaluate_every") or {})
        text = (
            f"B = {most} was evaluated {counts[most]:,.0f} times a run and B = {least} {counts[least]:,.0f}: the best "
            f"of more evaluations is lower by chance{'' if even else '; set evaluate_every in epochs or examples'}"
        )
        yield Caveat(code="uneven_evaluations", text=text)


def _coarse(evidence: Evidence) -> Iterable[Caveat]:
    trial_ids = [
        run.trial_id
        for reach in evidence.reaches.values()
        for run in reach.runs
        if run.reached and run.evaluations < ENOUGH_EVALUATIONS
    ]
    if trial_ids:
        text = (
            f"{counted(len(trial_ids), 'run')} reached the target within {ENOUGH_EVALUATIONS} evaluations, so what "
            "that took is coarse; evaluate more often"
        )
        yield Caveat(code="few_evaluations", text=text, trials=tuple(trial_ids))


def _still_improving(evidence: Evidence) -> Iterable[Caveat]:
    cells = []
    for cell in evidence.cells:
        ended = [run for run in cell.runs if math.isfinite(run.best_loss())]
        last = [run for run in ended if run.curve.losses[-1] == run.curve.losses.min()]
        if ended and len(last) > len(ended) / 2:
            cells.append(cell)
    if cells and not evidence.known.stops_at_target:
        text = f"the loss was still falling at the end of the budget at B = {batches(cells)}: longer training may help"
        yield Caveat(code="still_improving", text=text, trials=ids(run for cell in cells for run in cell.runs))


_CHECKS: tuple[Callable[[Evidence], Iterable[Caveat]], ...] = (
    *searching.CHECKS,
    _epochs_only,
    _large_batches,
    _noise_near_all_rows,
    _divergence,
    _lacking_evaluations,
    _few_seeds,
    _late_seeds,
    _seen_before,
    _mixed_machines,
    _unsteady_speed,
    _clipping,
    _fixed_settings,
    _uneven_evaluations,
    _coarse,
    _still_improving,
)

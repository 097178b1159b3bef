"""`batchscope demo --table`: a published comparison of three trainings, repeated with seeds and an interpretation.

The published losses are 0.56 for 15 epochs of global batch 16, 1.27 for 15 epochs of 160, and 0.55 for 150 epochs of
160 (in 1.46, 0.30 and 1.74 s). They fit 150 rows of 4 numbers in 3 classes and a small dense network with SGD, which
makes 150, 15 and 150 updates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cluster.study.spec import StudySpec
    from trainer.trial import TrialSpec

SEEDS = 8
STUDY = """\
# batchscope run {folder}/{study}.yaml
study: {study}
data: {folder}/data
summary: {folder}/summary
task: classification
model: {{factory: "cluster.articles.iris:build"}}
axes: {{global_batch: {batches}, learning_rate: 0.01, optimizer: sgd, seeds: {seeds}}}
budget: {budget}
evaluate_every: {{updates: 15}}
resources: {{micro_batch: 150}}
"""
# Two studies, because a study has only one budget for each global batch.
STUDIES = {
    "table-equal-epochs": {"batches": "[16, full]", "budget": "{16: {updates: 150}, full: {updates: 15}}"},
    "table-equal-updates": {"batches": "[full]", "budget": "{updates: 150}"},
}
PUBLISHED = {(16, 150): ("15 epochs of 16", 0.56), (150, 15): ("15 of all", 1.27), (150, 150): ("150 of all", 0.55)}
NOTE = (
    "Keras makes 10 updates in an epoch of 150 rows in batches of 16, the last one of 6 rows. Here every batch is "
    "exact, so the budgets are given as numbers of updates. The rows are drawn at random, not Fisher's; `loss` is over "
    "all 150 training rows with the final weights."
)


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row of the table: final losses over the train split and seconds of training, by seed."""

    losses: Mapping[int, float]
    seconds: Mapping[int, float]


def run_table(folder: Path) -> int:
    """Run both studies, print the three rows and how to read them, and return the exit code."""
    from cluster.cli.run import run_and_watch
    from cluster.study.spec import load

    _made_ready(folder)
    arms: dict[tuple[int, int], TableRow] = {}
    for study in STUDIES:
        spec = load(folder / f"{study}.yaml")
        status = run_and_watch(spec)
        if status:
            return status
        arms |= _arms(spec)
    for line in lines(arms):
        click.echo(line)
    click.echo(f"the results are in {folder}/summary: batchscope results {study} --summary {folder}/summary")
    return 0


def lines(arms: Mapping[tuple[int, int], TableRow]) -> list[str]:
    """The table and how to read it; `arms` are by (global batch, updates), like PUBLISHED."""
    from statistics import mean, stdev

    head = f"{'arm':<18}{'global batch':>13}{'updates':>9}{'loss':>8}{'sd':>8}{'published':>11}{'seconds':>9}"
    table = ["", head]
    for (batch, updates), (name, published) in PUBLISHED.items():
        arm = arms[batch, updates]
        losses = list(arm.losses.values())
        table.append(
            f"{name:<18}{batch:>13}{updates:>9}{mean(losses):>8.3f}{stdev(losses):>8.3f}{published:>11.2f}"
            f"{mean(arm.seconds.values()):>9.2f}"
        )
    return [*table, NOTE, _reading(*(arms[point].losses for point in PUBLISHED))]


def _reading(small: Mapping[int, float], few: Mapping[int, float], many: Mapping[int, float]) -> str:
    """What the three arms show, from ratios of losses of the same seed, which begin with the same weights."""
    from statistics import mean, stdev

    same = [many[seed] / small[seed] for seed in small]
    fewer = [few[seed] / small[seed] for seed in small]
    facts = (
        f"All rows at once against batches of 16, same seed: {mean(same):.3f} times the loss after as many updates "
        f"(deviation {stdev(same):.3f} over {len(same)} seeds), {mean(fewer):.2f} times after a tenth as many"
    )
    # This must hold by far and in every pair of seeds, so that what remains is negligible.
    if 4 * max(abs(ratio - 1) for ratio in same) < min(abs(ratio - 1) for ratio in fewer):
        return f"{facts}: updates, not batch size, made the difference."
    return f"{facts}: here updates alone do not explain the difference."


def _made_ready(folder: Path) -> None:
    """Prepare the rows and write the study files, unless an earlier demo did."""
    from cluster.articles import iris
    from cluster.prepare import prepare

    if not (folder / "data" / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        iris.write(folder / "rows.jsonl")
        prepare([str(folder / "rows.jsonl")], str(folder / "data"), features="numbers", label="kind")
    for study, fields in STUDIES.items():
        file = folder / f"{study}.yaml"
        if not file.exists():
            file.write_text(STUDY.format(folder=folder, study=study, seeds=SEEDS, **fields))


def _arms(spec: "StudySpec") -> dict[tuple[int, int], TableRow]:
    """The arms of a finished study, by (global batch, updates)."""
    from cluster.process.quiet import import_tensorflow
    from cluster.stores import store_of
    from cluster.study import axes
    from cluster.summary import query
    from cluster.summary.store import Summary
    from trainer.checkpoint import Checkpoints
    from trainer.data.splits import open_data
    from trainer.update.shape import Shape

    import_tensorflow()
    from trainer.evaluate import score
    from trainer.order.world import World
    from trainer.update.collective import Collective
    from trainer.update.update import Learner

    rows = {row["trial_id"]: row for row in query.latest(query.trials(Summary(spec.summary), spec.study)).to_pylist()}
    manifest, data = open_data(store_of(spec.data), next(iter(rows.values()))["data_hash"])
    trials = axes.trials(spec, data_hash=manifest.data_hash, train_rows=len(data.train))
    learner = Learner(Shape.of(trials[0], manifest), Collective(World()))
    found: dict[tuple[int, int], list[tuple[TrialSpec, float, float]]] = {}
    for trial in trials:
        row = rows[trial.trial_id]
        learner.restore(Checkpoints(store_of(row["checkpoint_uri"]), trial.trial_id).weights("last") or [])
        found.setdefault((trial.global_batch, row["updates"]), []).append(
            (trial, score(learner, data.train).loss, row["seconds_training"])
        )
    return {
        point: TableRow(
            losses={trial.seed: loss for trial, loss, _ in arm}, seconds={trial.seed: took for trial, _, took in arm}
        )
        for point, arm in found.items()
    }

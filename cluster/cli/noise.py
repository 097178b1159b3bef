"""`batchscope noise`: how much a loss varies over seeds, and what differences seeds can tell; a minute or two."""

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_FAILED_TRIALS

if TYPE_CHECKING:
    from cluster.study.spec import StudySpec

# With fewer, the deviation is hardly known; as `cluster.study.looks` asks of a comparison.
FEWEST_SEEDS = 3


@click.command()
@click.argument("study_or_data", metavar="STUDY.yaml|DATA", type=click.Path())
@click.option("--global-batch", metavar="B", type=int, help="This batch size of the study, not its middle one.")
@click.option("--seeds", metavar="N", type=click.IntRange(FEWEST_SEEDS, 100), default=5, show_default=True)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(study_or_data: str, global_batch: int | None, seeds: int, form: str) -> int:
    """Train a few seeds of one batch size of the study, to see what its seeds can tell.

    They are kept as the study STUDY-noise, so that more of them add to those that are there. Prepared data that no
    study asks about yet are learnt by a small model, at B = 32 for four epochs.
    """
    from cluster.analysis.noise import noise_of
    from cluster.cli.run import end_of, watch
    from cluster.report import noise_text
    from cluster.study.noise_study import is_of, noise_study
    from cluster.summary import query
    from cluster.summary.store import Summary
    from cluster.summary.tables import COMPLETED
    from cluster.text.formats import json_value

    spec = _spec_of(study_or_data)
    small = noise_study(spec, global_batch=global_batch, seeds=seeds)
    status = end_of(watch(small))
    summary = Summary(small.summary)
    trials = query.newest(query.trials(summary, small.study), query.studies(summary, small.study))
    rows = [row for row in query.finished(trials).to_pylist() if row["state"] == COMPLETED and is_of(row, small)]
    if len(rows) < FEWEST_SEEDS:
        click.echo(f"{len(rows)} of {seeds} runs completed: at least {FEWEST_SEEDS} are needed", err=True)
        return status or EXIT_FAILED_TRIALS
    noise = noise_of([row["best_validation_loss"] for row in rows])
    if form == "json":
        fields = {"schema_version": 1, "study": small.study, **dataclasses.asdict(noise)}
        click.echo(json.dumps(json_value(fields), indent=2))
    else:
        what = f"B = {rows[0]['global_batch']} at rate {rows[0]['learning_rate']:g}"
        margin = spec.margin.validation_loss if spec.margin else None
        click.echo(noise_text.text(noise, what=what, margin=margin), nl=False)
    return status


def _spec_of(study_or_data: str) -> "StudySpec":
    """The study in a YAML file, or one of the prepared data."""
    from cluster.stores import store_of
    from cluster.study.noise_study import study_of_data
    from cluster.study.spec import load
    from trainer.data import manifest

    if study_or_data.endswith((".yaml", ".yml")):
        return load(study_or_data)
    return study_of_data(study_or_data, manifest.read(store_of(study_or_data)))

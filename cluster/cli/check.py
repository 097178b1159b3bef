"""`batchscope check`: one real batch in every layout, and the largest difference between the gradients."""

from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_NO

if TYPE_CHECKING:
    from cluster.lanes.check import Checked
    from cluster.preflight import Study

# Large enough to be cut unevenly, small enough to take seconds.
ROWS_AT_MOST = 64


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
def command(study_file: str) -> int:
    """Prove on one real batch that every layout of the study gives the same update.

    The batch goes whole through one worker, in small micro-batches, and over two workers. Exit code 1: they differ.
    """
    from cluster import machines
    from cluster.preflight import examine
    from cluster.study.spec import load

    spec = load(study_file)
    study = examine(spec, machines.this_machine(with_gpus=spec.resources.gpus_per_worker > 0))
    with machines.local_ray(study.placed):
        found = check_study(study)
    for checked in found:
        click.echo(line(checked))
    return 0 if all(checked.passed for checked in found) else EXIT_NO


def check_study(study: "Study") -> "list[Checked]":
    """Check one trial of the study for each dtype, on the Ray that is connected."""
    from cluster.lanes.check import check

    click.echo("checking one real batch in every layout ...", err=True)
    batches = {trial.global_batch for trial in study.trials}
    batch = max((batch for batch in batches if batch <= ROWS_AT_MOST), default=min(batches))
    trials = {trial.dtype: trial for trial in study.trials if trial.global_batch == batch}
    return check(list(trials.values()), data=study.spec.data)


def line(checked: "Checked") -> str:
    """What was found, in one line."""
    verdict = "the same update" if checked.passed else "NOT the same update: do not trust this study"
    return (
        f"check: {checked.rows} rows in {checked.dtype}, whole on one worker, in micro-batches of 5 "
        f"({checked.micro_batches:.1e}) and on two workers ({checked.workers:.1e}): largest relative difference of "
        f"the gradient {checked.largest:.1e}, allowed {checked.tolerance:.0e}: {verdict}"
    )

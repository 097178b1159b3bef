"""`batchscope plan`: what fits, how long it takes and what it costs, before anything is trained."""

import json

import click

from cluster.cli.reaching import format_option


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
@click.option("--address", metavar="A", help="Plan for a Ray cluster (auto, or host:port) instead of this machine.")
@click.option(
    "--no-calibration",
    is_flag=True,
    help="Measure nothing: use the last probe, or a guess that is right to a factor of two or so.",
)
@format_option
def command(study_file: str, address: str | None, no_calibration: bool, form: str) -> int:
    """Print how each trial is split, what it takes in memory, minutes and dollars, and the total.

    No trial is trained to its end, and nothing is written. The seconds come from the last `batchscope probe` of this
    study, or from half a minute of calibration on this machine. A study that does not fit is refused with the message
    of `batchscope run`.
    """
    from cluster.plan import as_json, text
    from cluster.plan.planned import planned
    from cluster.prepare.progress import bar
    from cluster.study.capacity import capacity_of
    from cluster.study.preflight import examine
    from cluster.study.spec import load

    spec = load(study_file)
    study = examine(spec, capacity_of(address, with_gpus=spec.resources.gpus_per_worker > 0))
    with bar() as progress:
        found = planned(study, calibrated=not no_calibration, tell=lambda share: progress("calibrating", share))
    if form == "json":
        click.echo(json.dumps(as_json.to_json(found), indent=2))
    else:
        click.echo(text.to_text(found, width=text.terminal_width()), nl=False)
    return 0

"""`batchscope plan`: what fits, how long it takes and what it costs, before anything is trained."""

import json

import click

from cluster.cli import EXIT_INTERRUPTED
from cluster.cli.reaching import format_option, reach


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
@click.option(
    "--address",
    metavar="A",
    help="Plan for a Ray cluster instead of this machine: auto, host:port, or as for `submit` http://127.0.0.1:8265.",
)
@click.option("--token-file", metavar="FILE", help="The file with the cluster's token, as for `submit`.")
@click.option(
    "--no-calibration",
    is_flag=True,
    help="Measure nothing: use the last probe, or a guess that is right to a factor of two or so.",
)
@format_option
def command(study_file: str, address: str | None, token_file: str | None, no_calibration: bool, form: str) -> int:
    """Print how each trial is split, what it takes in memory, minutes and dollars, and the total.

    Only what is left of the study is planned; no trial is trained to its end, and nothing is written. The seconds come
    from trials that the study has run, from the last `batchscope probe` of it, or from half a minute of calibration on
    this machine; with --address, on a machine of that cluster, which is started for it if none is free. A study that
    does not fit is refused with the message of `batchscope run`.
    """
    if address is not None and address.startswith(("http://", "https://")):
        return _there(study_file, *["--no-calibration"] * no_calibration, address=address, token=token_file, form=form)
    from cluster.report.stage_line import StageLine

    with StageLine("loading") as stage:
        from cluster.plan import as_json, text
        from cluster.plan.planned import planned
        from cluster.study.capacity import capacity_of
        from cluster.study.preflight import examine
        from cluster.study.spec import load

        spec = load(study_file)
        stage.now("reading the data and building the model")
        study = examine(spec, capacity_of(address, with_gpus=spec.resources.gpus_per_worker > 0))
        found = planned(study, calibrated=False, tell=lambda share: None, address=address)
        if not no_calibration and found.source == "guess":
            guess = f"a guess: {text.time_text(found.expected.seconds)}; calibrating, with --no-calibration the guess"
            stage.now(f"{guess} is the answer: starting trainers")
            found = planned(
                study,
                calibrated=True,
                tell=lambda share: stage.now(f"{guess} is the answer: {share:.0%}"),
                address=address,
            )
    if form == "json":
        click.echo(json.dumps(as_json.to_json(found), indent=2))
    else:
        click.echo(text.to_text(found, width=text.terminal_width()), nl=False)
    return 0


def _there(study_file: str, *flags: str, address: str, token: str | None, form: str) -> int:
    """Let a job of the cluster plan the study, print its plan, and return its exit code."""
    from pathlib import Path

    from cluster.jobs.follow import exit_code, follow
    from cluster.jobs.planning import hand_over, split
    from cluster.jobs.submit import on_cluster
    from cluster.study.factory_code import to_ship
    from cluster.study.spec import load
    from cluster.text.plain import plain_lines

    head = reach(address, token)
    spec = on_cluster(load(study_file), head.address)
    job = hand_over(head, spec, *flags, form=form, code=to_ship(spec, Path.cwd()))
    click.echo(f"job {job.id} plans the study on the cluster", err=True)
    log: list[str] = []
    try:
        ended = follow(head, job.id, show=log.append, say=lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        head.stop(job.id)
        return EXIT_INTERRUPTED
    before, found = split("".join(log), form)
    click.echo(plain_lines(before), nl=False, err=True)
    click.echo(plain_lines(found), nl=False)
    return exit_code(ended)

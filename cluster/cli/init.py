"""`batchscope init`: a first study of prepared data, of about three minutes on this machine, as a commented file."""

import sys

import click

from cluster.cli.answering import put, text_or_json


@click.command("init")
@click.argument("data", metavar="DATA")
@click.option("-o", "--output", default="study.yaml", show_default=True, metavar="FILE", help="Write to this new file.")
@click.option("--study", "name", metavar="NAME", help="The study's name.  [default: that of the folder DATA]")
@click.option("--factory", metavar="M:F", help="A model of your own, such as my_models:build.")
@click.option("--no-calibration", is_flag=True, help="Measure nothing: guess, right to a factor of two or so.")
@text_or_json
def command(data: str, output: str, name: str | None, factory: str | None, no_calibration: bool, form: str) -> None:
    """Write a first study of the prepared data DATA: a handful of batch sizes in about three minutes.

    Half a minute of calibration on this machine finds how many seeds and epochs that pays for. Nothing is trained to
    its end, and an existing file is not overwritten.
    """
    from cluster.report.stage_line import StageLine

    with StageLine("loading") as stage:
        from cluster.plan.first_study import first_study
        from cluster.plan.first_study_text import first_study_text, next_commands, what_decides, what_it_takes
        from cluster.process.files import check_new, save
        from cluster.report.next_commands import indented
        from cluster.study.capacity import capacity_of
        from cluster.text.wrapped import terminal_width, wrapped

        check_new(output)
        stage.now("calibrating on this machine: starting trainers")
        found = first_study(
            data,
            name=name,
            factory=factory,
            capacity=capacity_of(None, with_gpus=False),
            calibrated=not no_calibration,
            tell=lambda share: stage.now(f"calibrating on this machine: {share:.0%}"),
        )
    save(first_study_text(found, file=output).encode(), output)
    takes, commands, width = what_it_takes(found), next_commands(found, file=output), terminal_width(sys.stdout)
    put(
        form,
        [f"{output}: {takes}", wrapped(what_decides(found), width), "\nnext:\n", *indented(commands, width)],
        file=output,
        study=found.spec.study,
        trainings=found.plan.expected.trials,
        seconds=found.plan.expected.seconds,
        source=found.plan.source,
        next=commands,
    )

"""`batchscope next`: the study that decides what a study left undecided, as a commented file."""

import dataclasses
import math
import sys

import click

from cluster.cli.answering import put, text_or_json


@click.command("next")
@click.argument("study")
@click.option("-o", "--output", default="next.yaml", show_default=True, metavar="FILE", help="Write to this new file.")
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Of fewer batch sizes, if all take longer.")
@text_or_json
def command(study: str, output: str, uri: str, minutes: float | None, form: str) -> None:
    """Write the study that decides what STUDY left undecided, with its trainings and minutes.

    After a protocol, it compares two batch sizes on as many fresh seeds as probably decide them. After a plain grid, it
    tunes and confirms all of its batch sizes, and needs a margin from you. If nothing is undecided, it writes nothing.
    """
    from cluster.analysis.follow_up import NoFollowUp, follow_up
    from cluster.process.files import check_new, save
    from cluster.report.follow_up import file_text, next_commands, what_it_decides, why_none
    from cluster.report.next_commands import indented
    from cluster.summary import query
    from cluster.summary.store import Summary
    from cluster.text.plain import plain
    from cluster.text.wrapped import terminal_width
    from trainer.errors import InputError

    check_new(output)
    summary = Summary(uri)
    query.asked(summary, study)
    found = follow_up(
        query.specs(summary, study),
        query.trials(summary, study),
        query.evaluations(summary, study),
        taken=query.names(summary),
        seconds_at_most=math.inf if minutes is None else 60 * minutes,
    )
    if isinstance(found, NoFollowUp):
        if found.code != "decided":
            raise InputError(why_none(found, study))
        why = why_none(found, study)
        put(form, [why], study=study, file=None, next_study=None, trainings=[], seconds=[], why=why, next=[])
        return
    spec = found.spec.model_copy(update={"summary": uri})
    found = dataclasses.replace(found, spec=spec)
    save(file_text(found, file=output).encode(), output)
    decides = [plain(line) for line in what_it_decides(found)]
    commands = [plain(line) for line in next_commands(found, file=output)]
    put(
        form,
        [f"{output}: the study {spec.study}", *decides, "\nnext:\n", *indented(commands, terminal_width(sys.stdout))],
        study=study,
        file=output,
        next_study=spec.study,
        trainings=found.trainings,
        seconds=found.seconds or [],
        why=" ".join(decides),
        next=commands,
    )

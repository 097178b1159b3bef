"""`batchscope run`: a study on this machine or a cluster, with progress; Ctrl-C saves and stops, twice stops now."""

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from cluster.cli import EXIT_BUDGET, EXIT_FAILED_TRIALS, EXIT_NO
from cluster.cli.answering import JSON, TEXT, put, text_or_json
from cluster.cli.notifying import OUTCOMES, notify_option, receiver, with_notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.drive.events import Event
    from cluster.drive.result import RunResult
    from cluster.prices import Spending
    from cluster.report.progress_lines import StudyProgress
    from cluster.report.stage_line import StageLine
    from cluster.study.spec import StudySpec
    from cluster.study.study import Study


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
@click.option("--address", metavar="A", help="Join a Ray cluster (auto, or host:port) instead of starting Ray here.")
@click.option("--budget", metavar="B", help="Save and end when this run has spent this: 50usd, 3h, 90min.")
@notify_option
@click.option(
    "--progress",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Progress lines where there is no terminal: for a person, or for a program.",
)
@text_or_json
def command(
    study_file: str, address: str | None, budget: str | None, target: str | None, progress: str, form: str
) -> int:
    """Run the study here. Run the same command again to resume it: finished trials are not repeated."""
    from cluster.prices import parse_budget
    from cluster.report.progress_lines import sentence, to_line
    from cluster.study.spec import load

    spending = parse_budget(budget) if budget is not None else None
    line_of = to_line if progress == "json" else sentence
    notified, spec = receiver(target, joins_cluster=address is not None), load(study_file)

    def work() -> int:
        return run_and_watch(spec, address=address, spending=spending, line_of=line_of, form=form)

    return with_notice(notified, spec, work)


def run_and_watch(
    spec: "StudySpec",
    *,
    address: str | None = None,
    spending: "Spending | None" = None,
    before: "Callable[[Study], None]" = lambda study: None,
    line_of: "Callable[[StudyProgress], str] | None" = None,
    form: str = TEXT,
) -> int:
    """Run a study to its end, with progress on stderr and results on stdout, and return the exit code.

    `before` is called when Ray is connected, before anything is trained.

    Raises:
        StoppedError: a signal stopped it.
    """
    from cluster.report.next_commands import indented, next_commands
    from cluster.text.wrapped import terminal_width

    result = watch(spec, address=address, spending=spending, before=before, line_of=line_of)
    status = end_of(result)
    if form == JSON:
        put(form, [], **_fields(result, status))
        return status
    _show(result.study)
    click.echo("\nnext:\n", err=True)
    commands = next_commands(result.study.spec.study, result.study.spec.summary)
    for line in indented(commands, terminal_width(sys.stderr)):
        click.echo(line, err=True)
    return status


def _fields(result: "RunResult", status: int) -> dict[str, Any]:
    """How a run ended, for a program; `batchscope results STUDY --verdict --format json` has what it shows."""
    from cluster.report.notice import headline

    spec = result.study.spec
    return {
        "study": spec.study,
        "summary": spec.summary,
        "outcome": OUTCOMES[status],
        "exit_code": status,
        "headline": headline(spec),
        "failed_trials": result.failed,
        "cost_usd": result.cost_usd,
        "bill_usd": result.bill_usd,
    }


def watch(
    spec: "StudySpec",
    *,
    address: str | None = None,
    spending: "Spending | None" = None,
    before: "Callable[[Study], None]" = lambda study: None,
    line_of: "Callable[[StudyProgress], str] | None" = None,
) -> "RunResult":
    """Run a study to its end, with progress on stderr (see `run_and_watch`)."""
    from cluster.report.stage_line import StageLine

    with contextlib.ExitStack() as shown:
        stage = shown.enter_context(StageLine("loading"))
        from cluster.drive.ends import refuse_dollars_here
        from cluster.drive.run import run
        from cluster.report.progress_lines import sentence
        from cluster.study.capacity import capacity_of
        from cluster.study.preflight import examine

        if address is None:
            refuse_dollars_here(spending)
        stage.now("reading the data and building the model")
        study = examine(spec, capacity_of(address, with_gpus=spec.resources.gpus_per_worker > 0))
        stage.now(f"opening {spec.summary}")
        hear = _shown(shown, stage, before, line_of or sentence)
        return run(study, hear, address=address, spending=spending)


def _shown(
    shown: contextlib.ExitStack,
    stage: "StageLine",
    before: "Callable[[Study], None]",
    line_of: "Callable[[StudyProgress], str]",
) -> "Callable[[Event], None]":
    """A function that shows the events of a run on stderr, until `shown` is closed, which holds the open `stage`."""
    from cluster.drive import events
    from cluster.plan.evaluating import hint_from_rows
    from cluster.report.headline import headline, margin_hint
    from cluster.report.live import LiveView
    from cluster.report.progress_lines import StudyProgress
    from cluster.report.terminal import Terminal

    terminal: Terminal | None = None
    view: LiveView | None = None

    def say(text: str) -> None:
        (terminal or stage).say(text)

    def hear(event: "Event") -> None:
        nonlocal terminal, view
        match event:
            case events.Waiting(text=text):
                say(text)
            case events.StudyOpened(study=study, asked=asked, finished=finished, finished_examples=examples):
                # A run that goes on by itself opens its study again, and has another view.
                shown.close()
                terminal = None
                shown.enter_context(stage)
                text = headline(study, finished, asked)
                say(line_of(StudyProgress(done=finished, asked=asked, running=0, text=text)))
                for hint in filter(None, (hint_from_rows(study), margin_hint(study.spec))):
                    say(f"hint: {hint}")
                view = LiveView.of(study, asked=asked, finished=finished, finished_examples=examples)
                stage.now("starting Ray" if finished < asked else "reading what the trials left")
            case events.RayConnected(study=study, bill_usd=bill_usd):
                shown.close()
                before(study)
                assert view is not None
                view.bill_usd, view.began_at = bill_usd, stage.began_at
                terminal = shown.enter_context(Terminal(view, line_of))
            case events.Stopping(reason=reason):
                assert view is not None
                view.stopping_since = time.monotonic()
                signalled = reason == events.A_SIGNAL
                say("saving and stopping; Ctrl-C again to stop now" if signalled else f"{reason}: saving and stopping")
            case events.NotCompacted(reason=reason):
                say(f"the study's rows were not compacted: {reason}")
            case _:
                assert terminal is not None
                terminal.note(event)

    return hear


def end_of(result: "RunResult") -> int:
    """Print how a run ended, unless it simply finished, and return the exit code.

    Raises:
        StoppedError: a signal stopped it.
    """
    from cluster.drive.result import End
    from cluster.lanes.breaker import IDENTICAL_AT_MOST
    from cluster.process.signals import StoppedError
    from cluster.report.live import in_usd

    if result.bill_usd is not None:
        shares = f"{in_usd(result.cost_usd)} for the machines' parts that trained"
        click.echo(f"cost: {shares}; {in_usd(result.bill_usd)} for the whole fleet meanwhile", err=True)
    match result.end:
        case End.STOPPED:
            click.echo("stopped; the same command goes on from here", err=True)
            raise StoppedError
        case End.OUT_OF_BUDGET:
            click.echo("the budget is spent; the same command goes on from here with a new budget", err=True)
            return EXIT_BUDGET
        case End.REFUSED:
            click.echo(
                "the check failed: the layout changes the update, so nothing was trained; the trials' `error` says by "
                "how much. Run `batchscope check` and report its output",
                err=True,
            )
            return EXIT_NO
        case End.BROKEN:
            click.echo(
                f"{IDENTICAL_AT_MOST} trials in a row failed alike before any update, so no further trial was started: "
                f"{result.reason}",
                err=True,
            )
    if result.unwritten:
        click.echo(f"{result.unwritten}: `error` in their rows says why; the same command trains them again", err=True)
    return EXIT_FAILED_TRIALS if result.failed or result.unwritten else 0


def _show(study: "Study") -> None:
    """Print the results so far: the points of a grid, or the verdict of a protocol."""
    from cluster.cli.results import show_points, show_verdict
    from cluster.report.saving import line
    from cluster.summary import query
    from cluster.summary.store import Summary

    summary, name = Summary(study.spec.summary), study.spec.study
    if study.spec.protocol is None:
        show_points(summary, name)
        return
    trials = query.newest(query.trials(summary, name), query.studies(summary, name))
    if saved := line(trials, study.expected(), train_rows=study.manifest.splits["train"].rows):
        click.echo(saved, err=True)
    show_verdict(summary, name)

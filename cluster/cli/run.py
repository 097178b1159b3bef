"""`batchscope run`: a study on this machine, watched; Ctrl-C once saves and stops, twice stops now."""

import contextlib
import signal
from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_FAILED_TRIALS, EXIT_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.lanes.schedule import Schedule
    from cluster.preflight import Study
    from cluster.report.live import Terminal
    from cluster.study.spec import StudySpec
    from cluster.summary.store import Summary
    from trainer.trial import TrialSpec


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
def command(study_file: str) -> int:
    """Run the study here. Run the same command again to resume it: what is finished is not repeated."""
    from cluster.study.spec import load

    return run_and_watch(load(study_file))


def run_and_watch(spec: "StudySpec", *, before: "Callable[[Study], None]" = lambda study: None) -> int:
    """Run a study to its end, with progress on stderr and its points on stdout; the exit code.

    `before` is called when Ray is connected and before anything is trained.
    """
    from cluster.cli.results import show_points
    from cluster.preflight import examine
    from cluster.run import local_ray, opened_summary, remaining

    study = examine(spec)
    status = 0
    with opened_summary(study) as summary:
        trials = remaining(study, summary)
        click.echo(headline(study, len(study.trials) - len(trials)), err=True)
        if trials:
            with local_ray(study):
                before(study)
                status = _train(study, trials, summary)
    show_points(summary, spec.study)
    return status


def _train(study: "Study", trials: "list[TrialSpec]", summary: "Summary") -> int:
    from cluster.report.live import LiveView, Terminal
    from cluster.run import training
    from trainer.plan import total_updates

    rows = study.manifest.splits["train"].rows
    work = {
        trial: (total_updates(trial.budget, global_batch=trial.global_batch, rows=rows) or 0) * trial.global_batch
        for trial in trials
    }
    view = LiveView(examples=work, finished_before=len(study.trials) - len(trials), lanes=study.placed.lanes)
    with training(study, trials, summary, view.note) as schedule, Terminal(view) as terminal:
        stopped_by = watch(schedule, terminal)
    if stopped_by is not None:
        click.echo("stopped; the same command goes on from here", err=True)
        return EXIT_SIGNAL + stopped_by
    return EXIT_FAILED_TRIALS if view.failed else 0


def headline(study: "Study", finished: int) -> str:
    """The batch arithmetic and layout of a study, said before it starts."""
    placed, rows = study.placed, study.manifest.splits["train"].rows
    batches = sorted({trial.global_batch for trial in study.trials})
    sizes = ", ".join(f"{batch} (micro-batches of {study.micro_batches[batch]})" for batch in batches)
    lines = [
        f"study {study.spec.study}: {len(study.trials)} trials, {finished} finished before; "
        f"{rows:,} training rows; lanes: {placed.lanes}, workers a lane: {placed.workers}",
        f"global batches {sizes}",
    ]
    return "\n".join(lines + ([placed.note] if placed.note else []))


def watch(schedule: "Schedule", terminal: "Terminal") -> int | None:
    """Wait for the end; Ctrl-C or SIGTERM once saves and stops. The number of the signal, if there was one.

    Raises:
        KeyboardInterrupt: on the second signal.
    """
    stopped_by: int | None = None
    with _signals():
        while True:
            try:
                while not schedule.wait(0.25):
                    terminal.refresh()
                return stopped_by
            except _StoppedError as signalled:
                if stopped_by is not None:
                    raise KeyboardInterrupt from None
                stopped_by = signalled.number
                terminal.say("saving and stopping; Ctrl-C again to stop now")
                schedule.cancel()


class _StoppedError(Exception):
    """SIGINT or SIGTERM, raised in the main thread."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _signals() -> "Iterator[None]":
    def stop(number: int, frame: object) -> None:
        raise _StoppedError(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

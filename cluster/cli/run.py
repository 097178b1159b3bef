"""`batchscope run`: a study on this machine or a cluster, watched; Ctrl-C once saves and stops, twice stops now."""

import contextlib
import time
from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_BUDGET, EXIT_FAILED_TRIALS, EXIT_NO
from cluster.drive.watching import Ends, watch
from cluster.process import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.lanes.schedule import Event
    from cluster.prices import Spending
    from cluster.process.ray_session import Session
    from cluster.study.spec import StudySpec
    from cluster.study.study import Study
    from cluster.summary.kept import Heard
    from cluster.summary.store import Summary
    from trainer.trial import TrialSpec


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
@click.option("--address", metavar="A", help="Join a Ray cluster (auto, or host:port) instead of starting Ray here.")
@click.option("--budget", metavar="B", help="End in order when this run has spent it: 50usd, 3h, 90min.")
def command(study_file: str, address: str | None, budget: str | None) -> int:
    """Run the study here. Run the same command again to resume it: what is finished is not repeated."""
    from cluster.prices import parse_budget
    from cluster.study.spec import load

    spending = parse_budget(budget) if budget is not None else None
    return run_and_watch(load(study_file), address=address, spending=spending)


def run_and_watch(
    spec: "StudySpec",
    *,
    address: str | None = None,
    spending: "Spending | None" = None,
    before: "Callable[[Study], None]" = lambda study: None,
) -> int:
    """Run a study to its end, with progress on stderr and its points on stdout; the exit code.

    `before` is called when Ray is connected and before anything is trained. A budget in seconds counts from here.

    Raises:
        StoppedError: a signal stopped it.
    """
    began_at = time.monotonic()
    from cluster.cli.results import show_points, show_verdict
    from cluster.drive.run import opened_summary
    from cluster.study import identity
    from cluster.study.capacity import capacity_of
    from cluster.study.preflight import examine
    from cluster.summary.kept import Heard
    from cluster.summary.known_losses import answers

    if address is None:
        _refuse_dollars_here(spending)
    study = examine(spec, capacity_of(address, with_gpus=spec.resources.gpus_per_worker > 0))
    status = 0
    with opened_summary(study, lambda line: click.echo(line, err=True)) as opened:
        summary, study = opened.summary, opened.study
        losses = answers(summary, spec.study, identity.spec_hash(study.spec))
        plan = study.plan(losses)
        finished = [planned.trial for planned in plan.trials if planned.trial.trial_id in losses]
        wanted = study.asked(plan)
        click.echo(headline(study, len(finished), wanted), err=True)
        heard = Heard(losses)
        if plan.open or len(finished) < len(plan.trials):
            with _ray(address, study) as session:
                before(study)
                ends = Ends(session, opened.hold, spending, began_at)
                status = _train(study, losses, finished, wanted, summary, heard, ends)
        if status in (0, EXIT_FAILED_TRIALS):
            opened.write_lost()
            _refuse_lost_rows(heard, summary, spec.study)
            status = _say_unwritten(heard, summary, spec.study) or status
            _compact(summary, spec.study)
    if spec.protocol is None:
        show_points(summary, spec.study)
    else:
        _say_what_was_saved(study, summary)
        show_verdict(summary, spec.study)
    return status


def _ray(address: str | None, study: "Study") -> "contextlib.AbstractContextManager[Session]":
    from cluster.process import ray_session

    return ray_session.joined(address) if address else ray_session.local(**study.placed.ray_resources)


def _refuse_lost_rows(heard: "Heard", summary: "Summary", study: str) -> None:
    """End with what is missing of that which this run and those before it wrote."""
    from cluster.summary import query
    from trainer.errors import NotReadyError

    if missing := heard.missing(query.trials(summary, study), query.evaluations(summary, study)):
        raise NotReadyError(
            f"the study came to its end, but in {summary.uri} {missing}: files were deleted or damaged meanwhile; put "
            "them back, or run the same command again to train what has no row"
        )


def _say_unwritten(heard: "Heard", summary: "Summary", study: str) -> int:
    """Say which trials have to be trained again although they came to their end; the exit code, 0 if there are none."""
    from cluster.summary import query

    if (unwritten := heard.unwritten(query.trials(summary, study))) is None:
        return 0
    click.echo(f"{unwritten}: `error` in their rows says why; the same command trains them again", err=True)
    return EXIT_FAILED_TRIALS


def _compact(summary: "Summary", study: str) -> None:
    """Make a study that ended quick to read; what stands in the way is said, and changes no result."""
    from cluster.summary.compact import compact
    from cluster.summary.store import ConflictError
    from trainer.errors import UserError

    try:
        compact(summary, study)
    except (UserError, ConflictError) as problem:
        click.echo(f"the study's rows are not compacted: {problem}", err=True)


def _say_what_was_saved(study: "Study", summary: "Summary") -> None:
    """How much of the screen early stopping saved."""
    from cluster.report.saving import line
    from cluster.summary import query

    rows = study.manifest.splits["train"].rows
    name = study.spec.study
    trials = query.newest(query.trials(summary, name), query.studies(summary, name))
    if said := line(trials, study.expected(), train_rows=rows):
        click.echo(said, err=True)


def _refuse_dollars_here(spending: "Spending | None") -> None:
    from cluster.prices import this_instance
    from trainer.errors import InputError

    if spending is not None and spending.usd is not None and this_instance().market == "local":
        raise InputError(
            f"--budget {spending.usd:g}usd: this machine is not on EC2 and has no price: give a time, such as 3h"
        )


def _train(
    study: "Study",
    losses: "Mapping[str, float]",
    finished: "list[TrialSpec]",
    wanted: int,
    summary: "Summary",
    heard: "Heard",
    ends: Ends,
) -> int:
    from cluster.drive.run import training
    from cluster.lanes.breaker import IDENTICAL_AT_MOST
    from cluster.report.live import LiveView
    from cluster.report.terminal import Terminal
    from cluster.summary.driver.hold import ensure
    from trainer.order.plan import total_updates

    rows = study.manifest.splits["train"].rows

    def examples(trial: "TrialSpec") -> int:
        return (total_updates(trial.budget, global_batch=trial.global_batch, rows=rows) or 0) * trial.global_batch

    expected = study.expected()
    view = LiveView(
        examples=examples,
        expected_trials=max(1, wanted - len(finished)),
        expected_examples=max(0, sum(map(examples, expected)) - sum(map(examples, finished))),
        finished_before=len(finished),
        lanes=study.placed.lanes,
    )

    def watched(event: "Event") -> None:
        heard.hear(event)
        terminal.hear(event)

    with Terminal(view) as terminal, training(study, losses, summary, watched) as schedule:
        in_time = watch(schedule, terminal, lambda: ends.check(view))
        ensure(ends.hold)
    if signals.count():
        click.echo("stopped; the same command goes on from here", err=True)
        raise signals.StoppedError
    if not in_time:
        click.echo("the budget is spent; the same command goes on from here with another", err=True)
        return EXIT_BUDGET
    if view.refused:
        click.echo(
            "the check failed: the layout changes the update, so nothing was trained; the trials' `error` says by how "
            "much: run `batchscope check` and report it",
            err=True,
        )
        return EXIT_NO
    if schedule.cause is not None:
        click.echo(
            f"{IDENTICAL_AT_MOST} trials in a row failed alike before any update, so no further one was begun: "
            f"{schedule.cause.text}",
            err=True,
        )
    return EXIT_FAILED_TRIALS if view.failed else 0


def headline(study: "Study", finished: int, wanted: int) -> str:
    """The batch arithmetic and layout of a study, said before it starts; `wanted` trials as far as is known by now."""
    placed, rows = study.placed, study.manifest.splits["train"].rows
    batches = sorted({trial.global_batch for trial in study.trials})
    sizes = ", ".join(f"{batch} (micro-batches of {study.micro_batches[batch]})" for batch in batches)
    lines = [
        f"study {study.spec.study}: {wanted} trials, {finished} finished before; "
        f"{rows:,} training rows; lanes: {placed.lanes}, workers a lane: {_workers(study)}",
        f"global batches {sizes}",
    ]
    if study.spec.protocol:
        lines.append(
            f"protocol: the learning rate is tuned inside each global batch ({study.spec.protocol.screen_seeds} screen "
            f"seed{'s' * (study.spec.protocol.screen_seeds != 1)}), then confirmed on {len(study.spec.axes.seeds)} "
            "fresh seeds; more trials where a best rate is at an edge"
        )
        moved = {seed: other for seed, other in _confirming(study).items() if seed != other}
        lines += [
            f"seed {seed} has screened learning rates in this study: seed {other} confirms in its place"
            for seed, other in moved.items()
        ]
    if not study.manifest.verified:
        lines.append(
            f"data {study.spec.data}: prepared by an older version, so that its names and splits are unverified; its "
            "shards are verified"
        )
    return "\n".join(lines + ([placed.note] if placed.note else []))


def _confirming(study: "Study") -> dict[int, int]:
    from cluster.study.protocol import confirming_seeds

    return confirming_seeds(study.spec.axes.seeds, study.screened_on)


def _workers(study: "Study") -> str:
    """The workers of a lane: one number, or from which to which."""
    numbers = set(study.workers.values())
    return f"{min(numbers)} to {max(numbers)}" if len(numbers) > 1 else str(*numbers)

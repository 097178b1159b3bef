"""What must be true of the summary at the end of a day: one answer a trial, every evaluation once, and the bill."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from cluster.lanes.events import TrialBegan, TrialEnded, TrialEvaluated
from cluster.lanes.failure import Fault
from cluster.study.protocol import Unfolding
from cluster.summary import query
from cluster.summary.known_losses import answers
from cluster.summary.problems import Problem
from cluster.summary.store import Summary
from cluster.summary.tables import FINISHED
from tests.simulation import books
from tests.simulation.trainings import EVALUATIONS, diverges, loss_at
from tests.simulation.world import URI, World

COLUMNS = (
    *("study", "trial_id", "attempt", "state", "micro_batch_next", "spec_hash", "best_validation_loss"),
    *("started_at", "ended_at", "workers", "updates", "seconds_resumed", "cost_usd"),
)
TWO_DRIVERS = {"driver stands still", "driver suspended", "driver replaced", "second driver"}
# A driver looks for signals every second, and a lane may have taken a trial that its driver has not heard of.
SECONDS_TO_HEED = 10.0
ONCE = ("trials/", "evaluations/", "attempts/")


def wrong(world: World) -> list[str]:
    """What is not true."""
    world.line.until.clear()
    problems: list[Problem] = []
    summary = Summary(URI, note=problems.append)
    trials = query.trials(summary, "simulated", columns=COLUMNS)
    rows = trials.to_pylist()
    found = [f"{name} was changed" for name in world.objects.changed if name.startswith(ONCE)]
    found += _rows_wrong(world, summary, trials)
    found += books.wrong(world, rows)
    found += _after_the_break(world)
    found += _after_a_stop(world)
    found += _conflicts(world)
    found += [f"{problem}" for problem in problems]
    if not any(driver.runs for driver in world.drivers):
        found += [f"{group.process.name} is still there" for group in world.groups if group.alive]
    return found


def _rows_wrong(world: World, summary: Summary, trials: Any) -> Iterator[str]:
    rows = trials.to_pylist()
    answered = query.finished(trials).to_pylist()
    asked = {one.trial.trial_id: one.trial for one in _asked(world, trials)}
    times = Counter(row["trial_id"] for row in rows if row["state"] in FINISHED and not row["micro_batch_next"])
    for trial_id in asked.keys() - {row["trial_id"] for row in answered}:
        yield f"{trial_id} has no answer"
    yield from (f"{trial_id} is not asked for" for trial_id in times.keys() - asked.keys())
    yield from (f"{trial_id} has {count} answers" for trial_id, count in times.items() if count > 1)
    for trial_id in asked:
        attempts = sorted(row["attempt"] for row in rows if row["trial_id"] == trial_id)
        if attempts != list(range(1, len(attempts) + 1)):
            yield f"{trial_id} has attempts {attempts}"
    if lost := summary.lost_attempts("simulated"):
        yield f"{len(lost)} attempts without a row"
    yield from _curves_wrong(asked, summary, {row["trial_id"]: row["state"] for row in answered})


def _asked(world: World, trials: Any) -> Any:
    study = world.study
    return Unfolding(study.plan, answers(trials, study.spec_hash)).plan.trials


def _curves_wrong(asked: dict[str, Any], summary: Summary, states: dict[str, str]) -> Iterator[str]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in query.curves(query.evaluations(summary, "simulated")).to_pylist():
        curves.setdefault(row["trial_id"], []).append((row["update"], row["validation_loss"]))
    for trial in asked.values():
        total, every = int(trial.budget.amount), int(trial.budget.amount) // EVALUATIONS
        last = total // 2 - 1 if diverges(trial) else total
        expected = [(update, loss_at(trial, update)) for update in range(every, last + 1, every)]
        if states.get(trial.trial_id) in ("COMPLETED", "DIVERGED") and curves.get(trial.trial_id, []) != expected:
            yield f"{trial.trial_id}: {states[trial.trial_id]} with {curves.get(trial.trial_id)}, not {expected}"


def _after_the_break(world: World) -> Iterator[str]:
    """No trial begins once the data or the surroundings have failed, for they would fail it too.

    A driver that lost its study for that reason goes on by itself once, when it has opened it again.
    """
    for driver in world.drivers:
        broken, since = None, 0.0
        for at, event in driver.events:
            if any(since < opened <= at for opened in driver.opened_at):
                broken = None
            if isinstance(event, TrialEnded) and event.fault in (Fault.DATA, Fault.SURROUNDINGS):
                broken, since = event, at
            elif isinstance(event, TrialBegan) and broken is not None:
                yield f"{driver.process.name} begins a trial after {broken.error}"


def _after_a_stop(world: World) -> Iterator[str]:
    """A trial that begins after a signal is taken back before it evaluates.

    Where a process stood still, what it tells later may have been before.
    """
    if not any("still" in fault.name or "suspended" in fault.name for fault in world.plan.faults):
        for driver in world.drivers:
            begun = {}
            for at, event in driver.events:
                if isinstance(event, TrialBegan):
                    begun[event.trial.trial_id] = at - driver.signalled_at
                elif isinstance(event, TrialEvaluated) and begun[event.trial.trial_id] > SECONDS_TO_HEED:
                    yield f"{driver.process.name} trains a trial that began after it was stopped"


def _conflicts(world: World) -> Iterator[str]:
    """Where one driver acts after the other, nobody finds rows of somebody else."""
    if not TWO_DRIVERS & {fault.name for fault in world.plan.faults}:
        for driver in world.drivers:
            for _, event in driver.events:
                if isinstance(event, TrialEnded) and "ConflictError" in (event.error or ""):
                    yield f"{driver.process.name}: {event.error}"

"""The queue between a plan and Tune: what is suggested, when lanes rest, and when it is over."""

import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher

from cluster.lanes.events import LaneEvent, TrialEnded, TrialEvaluated, to_result
from cluster.lanes.queue import REST, Queue, in_order, loss_of, trial_of, work_of
from cluster.study import protocol
from cluster.study.protocol import CONFIRM, NO_LOSS, SCREEN, Planned, Unfolding, Wanted
from cluster.study.rules import Protocol
from tests.support.trials import TINY
from trainer.report import State
from trainer.trial import Duration, TrialSpec

EPOCH = Duration(unit="epochs", amount=1)
TRIAL = replace(TINY, global_batch=8, learning_rate=0.1, seed=0, budget=EPOCH, evaluate_every=EPOCH)
GRID = tuple(
    replace(TRIAL, global_batch=batch, learning_rate=rate, seed=seed)
    for seed in range(2)
    for batch in (8, 64)
    for rate in (0.1, 0.3, 0.9)
)
TUNED = Protocol(extensions=1)


class Lanes:
    """What Tune does with a queue on some lanes, one event at a time."""

    def __init__(self, queue: Queue, lanes: int) -> None:
        self.queue, self.lanes = queue, lanes
        self.busy: dict[str, Mapping[str, Any]] = {}
        self.given: list[Mapping[str, Any]] = []
        self.over = False
        self.asked = 0

    def fill(self) -> None:
        while len(self.busy) < self.lanes and not self.over:
            self.asked += 1
            answer = self.queue.suggest(name := str(self.asked))
            if answer == Searcher.FINISHED:
                self.over = True
            elif answer is None:
                return
            else:
                self.busy[name] = answer
                self.given.append(answer)

    def end(self, name: str, result: dict[str, Any] | None, *, error: bool = False) -> None:
        del self.busy[name]
        self.queue.on_trial_complete(name, result, error)


def tuned(losses: Mapping[str, float]) -> Wanted:
    return protocol.wanted(GRID, TUNED, losses)


def completed(trial: TrialSpec) -> dict[str, Any]:
    loss = abs(trial.learning_rate - 0.3)
    return to_result(TrialEnded(trial=trial, state=State.COMPLETED, validation_loss=loss, examples=1))


class Told:
    def __init__(self) -> None:
        self.releases, self.phases = 0, list[str]()

    def queue(self, losses: Mapping[str, float] | None = None) -> Queue:
        return Queue(Unfolding(tuned, losses or {}), release=self.release, begins=self.begins)

    def release(self) -> None:
        self.releases += 1

    def begins(self, plan: Wanted) -> None:
        self.phases.append(plan.trials[-1].phase)


@pytest.mark.parametrize("order", range(20))
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_everything_wanted_runs_once_and_lanes_rest_between_the_phases(lanes: int, order: int) -> None:
    told, draw = Told(), random.Random(order)
    tune = Lanes(told.queue(), lanes)
    tune.fill()
    while tune.busy:
        resting = {name for name, config in tune.busy.items() if REST in config}
        freed = {name for name in resting if told.releases > tune.busy[name][REST]}
        name = draw.choice(sorted(freed or set(tune.busy) - resting))
        tune.end(name, {"done": True} if name in freed else completed(trial_of(tune.busy[name])))
        tune.fill()
        # No lane ever ends before the last phase: Tune would start it again.
        assert len(tune.busy) == lanes or told.phases == [SCREEN, CONFIRM]
    assert tune.over
    real = [config for config in tune.given if REST not in config]
    assert [config["phase"] for config in real] == [SCREEN] * 6 + [CONFIRM] * 4
    assert len({str(config["trial"]) for config in real}) == 10
    assert lanes == 1 or len(real) < len(tune.given)


def test_what_is_answered_already_is_not_suggested() -> None:
    told = Told()
    answered = {planned.trial.trial_id: NO_LOSS for planned in tuned({}).trials[:4]}
    tune = Lanes(told.queue(answered), 9)
    tune.fill()
    assert [trial_of(config) for config in tune.given] == [planned.trial for planned in tuned({}).trials[4:]]


@given(units=st.sampled_from(["epochs", "examples", "updates"]), data=st.data())
def test_seeds_keep_their_order_and_of_each_the_longest_trials_are_first(units: str, data: st.DataObject) -> None:
    budget = Duration(unit=units, amount=640)
    plan = [Planned(replace(trial, budget=budget), SCREEN) for trial in GRID]
    wanted = data.draw(st.lists(st.sampled_from(plan), unique=True).map(lambda some: sorted(some, key=plan.index)))
    found = in_order(wanted)
    assert sorted(map(plan.index, found)) == sorted(map(plan.index, wanted))
    assert [one.trial.seed for one in found] == sorted(one.trial.seed for one in found)
    for _, group in groupby(found, key=lambda one: one.trial.seed):
        batches = [one.trial.global_batch for one in group]
        # As many updates take longer with larger batches, as many rows with smaller ones.
        assert batches == sorted(batches, reverse=units == "updates")


def test_a_budget_in_seconds_is_its_own_length() -> None:
    assert work_of(replace(TRIAL, budget=Duration(unit="seconds", amount=7))) == 7


def test_a_trial_that_failed_ends_the_phase_and_leaves_no_lane_resting() -> None:
    told = Told()
    tune = Lanes(told.queue(), 2)
    tune.fill()
    while real := [name for name, config in tune.busy.items() if REST not in config]:
        trial = trial_of(tune.busy[real[0]])
        failed = trial == GRID[0] or (trial.global_batch, trial.learning_rate) == (8, 0.1)
        tune.end(real[0], completed(trial), error=failed)
        tune.fill()
    for name in list(tune.busy):
        assert told.releases > tune.busy[name][REST]
        tune.end(name, {"done": True})
    tune.fill()
    assert tune.over
    assert told.phases == [SCREEN]


def test_a_closed_queue_suggests_nothing_and_lets_resting_lanes_go() -> None:
    told = Told()
    queue = told.queue()
    tune = Lanes(queue, 2)
    tune.fill()
    queue.close()
    assert told.releases == 1
    tune.end(next(iter(tune.busy)), completed(GRID[0]))
    assert queue.suggest("later") == Searcher.FINISHED


def ended(state: State, loss: float | None = None) -> TrialEnded:
    return TrialEnded(trial=TRIAL, state=state, validation_loss=loss)


@pytest.mark.parametrize(
    ("event", "loss"),
    [
        (ended(State.COMPLETED, 0.5), 0.5),
        (ended(State.COMPLETED, float("nan")), NO_LOSS),
        (ended(State.DIVERGED, 0.5), NO_LOSS),
        (ended(State.OUT_OF_MEMORY), NO_LOSS),
        (ended(State.STOPPED, 0.5), NO_LOSS),
        (ended(State.FAILED), None),
        (ended(State.CANCELLED, 0.5), None),
    ],
)
def test_only_an_answer_is_a_loss(event: TrialEnded, loss: float | None) -> None:
    assert loss_of(event) == loss


@pytest.mark.parametrize(
    ("last", "answered"),
    [
        # Tune's scheduler stopped it by its last evaluation.
        (TrialEvaluated(trial=TRIAL, examples=100, validation_loss=0.5), True),
        (TrialEnded(trial=TRIAL, state=State.COMPLETED, validation_loss=0.5), True),
        (TrialEnded(trial=TRIAL, state=State.FAILED), False),
        (None, False),
    ],
)
def test_the_last_result_of_a_trial_may_be_its_answer(last: LaneEvent | None, answered: bool) -> None:
    heard: list[str] = []

    def plan(losses: Mapping[str, float]) -> Wanted:
        heard.extend(losses)
        return Wanted((Planned(TRIAL, "grid"),), open=True)

    queue = Queue(Unfolding(plan, {}), release=lambda: None, begins=lambda plan: None)
    queue.suggest("a")
    queue.on_trial_complete("a", None if last is None else to_result(last))
    assert heard == [TRIAL.trial_id] * answered


def test_a_plain_plan_never_rests() -> None:
    told = Told()
    plan = Wanted(tuple(Planned(trial, "grid") for trial in GRID[:3]), open=False)
    tune = Lanes(Queue(Unfolding(lambda losses: plan, {}), release=told.release, begins=told.begins), 2)
    tune.fill()
    while tune.busy:
        tune.end(next(iter(tune.busy)), completed(GRID[0]))
        tune.fill()
    assert len(tune.given) == 3
    assert told.releases == 0

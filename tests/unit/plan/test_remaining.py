"""What is left of a study's phases after some answers: never more than before, and nothing of a finished study."""

from collections import Counter
from dataclasses import replace

import pytest

from cluster.plan import phases
from cluster.plan.phases import AGAIN, EXTENSION, LOOK
from cluster.plan.remaining import remaining
from cluster.study import protocol
from cluster.study.protocol import CONFIRM, GRID, NO_LOSS, SCREEN, Conditions, Unfolding, Wanted
from cluster.study.rules import Protocol
from tests.support.trials import TINY

GRID_TRIALS = tuple(
    replace(TINY, global_batch=batch, learning_rate=rate, seed=seed)
    for batch in (8, 16)
    for rate in (0.01, 0.02, 0.04)
    for seed in range(7)
)
RULES = Protocol(extensions=1, screen_seeds=1)


def counted(found: list[phases.Phase]) -> dict[str, int]:
    return {phase.name: len(phase.trials) for phase in found}


def test_of_a_grid_the_answered_trials_go() -> None:
    every = phases.phases(GRID_TRIALS, None, None)
    wanted = Wanted(tuple(protocol.Planned(trial, GRID) for trial in GRID_TRIALS), open=False)
    done = {trial.trial_id for trial in GRID_TRIALS[:7]}
    assert [phase.trials for phase in remaining(every, wanted, done)] == [GRID_TRIALS[7:]]
    assert remaining(every, wanted, {trial.trial_id for trial in GRID_TRIALS}) == []


@pytest.mark.parametrize("best", [0.02, 0.04])
def test_a_protocol_shrinks_with_every_answer_to_nothing(best: float) -> None:
    """`best` is the best rate of both batch sizes: inside the rates tried, or at an edge, which costs an extension."""
    every = phases.phases(GRID_TRIALS, RULES, 0.05)
    first = counted(every)
    assert first.keys() == {SCREEN, EXTENSION, CONFIRM, LOOK}
    losses: dict[str, float] = {}
    unfolding = Unfolding(lambda known: protocol.wanted(GRID_TRIALS, RULES, known, Conditions(margin=0.05)), losses)
    seen = [counted(remaining(every, unfolding.plan, losses))]
    assert seen[0] == first
    while missing := [one.trial for one in unfolding.plan.trials if one.trial.trial_id not in losses]:
        trial = missing[0]
        losses[trial.trial_id] = 1.0 + abs(trial.learning_rate - best) * 10 + 0.001 * trial.seed % 7
        unfolding.answer(trial, losses[trial.trial_id])
        seen.append(counted(remaining(every, unfolding.plan, losses)))
        if any(one.phase == CONFIRM for one in unfolding.plan.trials):
            # Once a rate is confirmed no other is tried.
            assert not {SCREEN, EXTENSION, AGAIN} & seen[-1].keys()
    totals = [Counter(one).total() for one in seen]
    assert totals == sorted(totals, reverse=True)
    assert seen[-1] == {}
    screened = sum(one.phase == SCREEN for one in unfolding.plan.trials)
    assert screened == first[SCREEN] + (first[EXTENSION] if best == 0.04 else 0)
    begun = next(one for one in seen if SCREEN not in one)
    assert begun[CONFIRM] == first[CONFIRM]


def test_a_trial_without_a_loss_is_not_left_either() -> None:
    every = phases.phases(GRID_TRIALS, RULES, 0.05)
    unfolding = Unfolding(lambda known: protocol.wanted(GRID_TRIALS, RULES, known), {})
    [one, *_] = unfolding.plan.trials
    unfolding.answer(one.trial, NO_LOSS)
    found = counted(remaining(every, unfolding.plan, {one.trial.trial_id}))
    assert found[SCREEN] == counted(every)[SCREEN] - 1
    assert AGAIN not in found

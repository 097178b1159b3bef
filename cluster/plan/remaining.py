"""What is left of a study's phases once some of its trials have an answer. Pure.

Costs do not depend on rate and seed, so of a phase that lies ahead only the numbers of trials of each kind count: what
the study wants by now is taken out of it, whichever rates and seeds that has.
"""

from collections import Counter
from collections.abc import Container, Sequence

from cluster.plan.costs_from_probe import Kind, kind_of
from cluster.plan.phases import Phase
from cluster.study.protocol import CONFIRM, GRID, SCREEN, Wanted

Counts = Counter[Kind]


def remaining(phases: Sequence[Phase], wanted: Wanted, answered: Container[str]) -> list[Phase]:
    """The phases without the trials that have an answer, and without those that are certain not to be needed.

    Trials that are wanted by now and have no answer come first, in a phase of their own.
    """
    by_phase = {name: [one.trial for one in wanted.trials if one.phase == name] for name in (GRID, SCREEN, CONFIRM)}
    certain = [
        Phase(name, tuple(trial for trial in trials if trial.trial_id not in answered))
        for name, trials in by_phase.items()
    ]
    ahead: list[Phase] = []
    if wanted.open:
        begun = bool(by_phase[CONFIRM])
        screened, confirmed = (Counter(map(kind_of, by_phase[name])) for name in (SCREEN, CONFIRM))
        for phase in phases:
            if phase.confirms:
                ahead.append(_without(phase, confirmed))
            elif not begun:
                # Once the confirmations have begun, no rate is tried any more.
                ahead.append(_without(phase, screened))
    return [phase for phase in (*certain, *ahead) if phase.trials]


def _without(phase: Phase, counts: Counts) -> Phase:
    """The phase without as many trials of each kind as `counts` says, which are taken off the counts."""
    left = []
    for trial in phase.trials:
        if counts[kind := kind_of(trial)]:
            counts[kind] -= 1
        else:
            left.append(trial)
    return Phase(phase.name, tuple(left))

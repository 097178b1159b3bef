"""Whether a group still computes: the steps of its rank 0, and how long there has been no further one. Pure.

A step is a micro-batch or a chunk of an evaluation. An all-reduce with a machine that hangs, a card that has fallen off
its bus or a read that never returns end nothing by themselves, and the machines of the group are paid for meanwhile.
"""

from dataclasses import dataclass, replace

# Compiling is no step, and takes minutes on a card that nobody compiled for before.
SECONDS_AT_LEAST = 15 * 60.0
TIMES_A_STEP = 20


@dataclass(frozen=True)
class Pulse:
    """The `steps` felt first and last, and when they changed last; in seconds of a clock that only goes forward.

    A warm worker counts on from trial to trial, so only the steps since the first are this trial's.
    """

    began_at: float
    changed_at: float
    first: int = 0
    steps: int = 0


def felt(pulse: Pulse | None, steps: int, now: float) -> Pulse:
    """The pulse when `steps` are felt; the first one begins it."""
    if pulse is None or steps < pulse.steps:
        return Pulse(began_at=now, changed_at=now, first=steps, steps=steps)
    return pulse if steps == pulse.steps else replace(pulse, steps=steps, changed_at=now)


def hangs(pulse: Pulse, now: float, *, at_least: float = SECONDS_AT_LEAST) -> bool:
    """Whether there has been no step for `at_least` seconds, and for TIMES_A_STEP times as long as a step takes."""
    a_step = (pulse.changed_at - pulse.began_at) / max(1, pulse.steps - pulse.first)
    return now - pulse.changed_at > max(at_least, TIMES_A_STEP * a_step)

"""The line to the bucket, with the faults of the real one, and processes that die in the middle of a call."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.stores.bucket import SECONDS
from tests.simulation.strands import Strands
from trainer.errors import NotReadyError

# As `cluster.stores`: a try without an answer is given up after PATIENCE seconds, a call after SECONDS.
PATIENCE, TRIES = 15.0, 5
SECONDS_OF_A_CALL, OF_A_SLOW_CALL, OF_A_PAGE, LATE = (0.001, 0.05), (1.0, 8.0), (0.1, 5.0), (1.0, 60.0)
LOST, APPLIED_LATE = 0.3, 0.3
CHANGES = ("write", "create", "delete")


@dataclass(frozen=True)
class Doom:
    """Whoever makes such a call next dies `before` its effect, or after it."""

    action: str
    part: str
    before: bool


DOOMS = tuple(
    Doom(action, part, before)
    for action, part in (
        ("create", "attempts/"),
        ("create", "evaluations/"),
        ("create", "trials/"),
        ("create", "/whole."),
        ("delete", "/study="),
        ("write", "checkpoints/"),
        ("write", "drivers/"),
        ("create", "drivers/"),
    )
    for before in (True, False)
)


class FaultyLine:
    """`until` is when each fault of the bucket ends; `doomed` are the calls in which a process will die."""

    def __init__(self, strands: Strands, draw: random.Random, note: Callable[..., None]) -> None:
        self._strands, self._draw, self._note = strands, draw, note
        self.until: dict[str, float] = {}
        self.doomed: list[Doom] = []

    def call(self, action: str, name: str, effect: Callable[[], Any]) -> Any:
        """What `effect` returns; it comes about in a try, or after a try that was given up, or in both."""
        if self._strands.current is None:
            return effect()
        for _ in range(TRIES):
            self._pass_time()
            if action in CHANGES:
                self._note(action, name)
                self._die(action, name, before=True)
                if self._is("bucket applies late") and self._draw.random() < APPLIED_LATE:
                    self._strands.loop.call_later(self._draw.uniform(*LATE), effect)
                    self._strands.sleep(PATIENCE)
                    continue
            answer = effect()
            if action in CHANGES:
                self._die(action, name, before=False)
            if not (self._is("bucket loses answers") and self._draw.random() < LOST):
                return answer
            self._strands.sleep(self._draw.uniform(0.0, PATIENCE))
        raise NotReadyError("s3://simulated does not answer")

    def next_page(self) -> bool:
        """Whether a listing comes in pages now."""
        if not self._is("bucket lists late"):
            return False
        self._strands.sleep(self._draw.uniform(*OF_A_PAGE))
        return True

    def _is(self, fault: str) -> bool:
        return self.until.get(fault, 0.0) > self._strands.loop.now

    def _pass_time(self) -> None:
        self._strands.sleep(self._draw.uniform(*(OF_A_SLOW_CALL if self._is("bucket is slow") else SECONDS_OF_A_CALL)))
        if self._is("bucket refuses"):
            self._strands.sleep(min(SECONDS, self.until["bucket refuses"] - self._strands.loop.now))
            if self._is("bucket refuses"):
                raise NotReadyError("s3://simulated does not answer")

    def _die(self, action: str, name: str, *, before: bool) -> None:
        dooms = [one for one in self.doomed if one.action == action and one.part in name and one.before == before]
        if dooms:
            self.doomed.remove(dooms[0])
            strand = self._strands.current
            assert strand is not None
            self._note("dies", "before" if before else "after")
            strand.process.kill(self._strands.loop.now)
            self._strands.halt()

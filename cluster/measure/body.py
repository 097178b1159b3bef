"""The body of a throwaway worker process: it makes its worker and answers one question after another.

A question is the name of a method of the worker. A method that is a generator yields its progress, from 0 to 1, and
returns its answer.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any, Protocol

from trainer.cause import cause
from trainer.errors import InputError
from trainer.machine import memory, peers
from trainer.report import State

LONGEST_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class Place:
    """A worker's place: its lane (from 0), its rank in the lane, and the lane's own folder."""

    lane: int
    rank: int
    folder: str


class WorkerLayout(Protocol):
    """The workers of a lane: their number, and how each is made in its process."""

    @property
    def workers(self) -> int:
        """The number of workers."""

    def worker(self, place: Place) -> Any:
        """The worker at this place."""


@dataclass(frozen=True)
class Answer:
    """The answer to a question; a worker's first answer is None, which means that it is ready."""

    value: Any


@dataclass(frozen=True)
class WorkerFailure:
    """The failure sent instead of an answer: OUT_OF_MEMORY or FAILED, with one line on why."""

    state: State
    error: str


# The progress of a question, from 0 to 1, or what ends it. An InputError is raised where the question was asked.
Message = float | Answer | WorkerFailure | InputError


def serve(
    layout: WorkerLayout, place: Place, addresses: Sequence[str], secret: bytes, pipe: Connection, said: str
) -> None:
    """Run the process: answer each question until the parent is gone or a question fails.

    Whatever the process writes to stdout and stderr goes into the file `said`.
    """
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Ctrl-C reaches every process of the terminal; this one ignores it, because the parent ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    peers.introduce(place.rank, addresses, secret)
    worker: Any = None

    def ready() -> None:
        nonlocal worker
        worker = layout.worker(place)

    if not answered(pipe, ready):
        return
    while True:
        question, arguments = pipe.recv()
        if not answered(pipe, getattr(worker, question), *arguments):
            return


def answered(pipe: Connection, question: Callable[..., Any], *arguments: Any) -> bool:
    """Send the answer, preceded by its progress, or the failure instead; returns whether there was an answer."""
    try:
        answer = question(*arguments)
        if isinstance(answer, Generator):
            answer = _sent_progress(pipe, answer)
    except InputError as problem:
        # Every other measurement would fail in the same way.
        pipe.send(problem)
        return False
    except BaseException as problem:  # noqa: BLE001 - any problem is the result of this measurement
        # Reporting the problem takes memory too.
        memory.lift_limit()
        state = State.OUT_OF_MEMORY if memory.is_exhausted(problem) else State.FAILED
        sign = memory.sign_of_exhaustion(str(problem))
        error = f"{type(problem).__name__}: {sign}" if sign else cause(problem)
        pipe.send(WorkerFailure(state, error[:LONGEST_ERROR]))
        return False
    pipe.send(Answer(answer))
    return True


def ended(exit_code: int, said: str) -> WorkerFailure:
    """The failure of a process that ended without an answer; `said` is what it wrote."""
    how = f"ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with exit code {exit_code}"
    exhausted = memory.ended_exhausted(exit_code, said)
    state = State.OUT_OF_MEMORY if exhausted else State.FAILED
    last = memory.sign_of_exhaustion(said) if exhausted else (said.strip().splitlines() or [""])[-1]
    return WorkerFailure(state, f"a worker {how}" + (f": {last}" if last else "")[:LONGEST_ERROR])


def _sent_progress(pipe: Connection, steps: Generator[float, None, Any]) -> Any:
    while True:
        try:
            pipe.send(float(next(steps)))
        except StopIteration as end:
            return end.value


def _end_with_parent() -> None:
    """End this process when its parent has ended, however that happened."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

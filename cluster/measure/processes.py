"""Throwaway worker processes of one lane: started, asked together, and ended whatever happens.

A process that runs out of memory may say so, abort or be killed: each is a `FailedError` with its state. The lane is
over then, as its collective has lost a worker.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cluster.measure.probe_worker import LaneLayout, Worker
from cluster.process import scratch
from trainer.cause import cause
from trainer.errors import DataError
from trainer.machine import memory
from trainer.report import State

# For an answer; and for the other workers' words, once one has failed.
SECONDS_TO_ANSWER = 900.0
SECONDS_FOR_THE_OTHERS = 2.0
LONGEST_ERROR = 500


class FailedError(Exception):
    """A worker failed: OUT_OF_MEMORY or FAILED, in one line."""

    def __init__(self, state: State, error: str) -> None:
        super().__init__(error)
        self.state, self.error = state, error


@dataclass(frozen=True)
class _Failure:
    state: State
    error: str


class Lane:
    """The processes of one lane. `say` each a question with `ask`, take the answers with `answers`."""

    def __init__(self, layout: LaneLayout) -> None:
        self._workers: list[tuple[BaseProcess, Connection, Path]] = []
        self.started_at = time.perf_counter()
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(layout.workers)] if layout.workers > 1 else []
        context = multiprocessing.get_context("spawn")
        for rank in range(layout.workers):
            ours, theirs = context.Pipe()
            said = Path(layout.folder) / f"{rank}.stderr"
            process = context.Process(target=_serve, args=(layout, rank, addresses, theirs, str(said)), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours, said))

    def ask(self, question: str, *arguments: Any) -> None:
        """Ask every worker: the name of a method of `Worker` and its arguments."""
        for _, pipe, _ in self._workers:
            with contextlib.suppress(OSError):
                pipe.send((question, arguments))

    def answers(self) -> list[Any]:
        """The answers, by rank, to the question asked last; the first is that all are ready.

        Raises:
            FailedError: a worker failed.
            DataError: one found other data than were asked for, or damaged ones.
        """
        pipes = {pipe: rank for rank, (_, pipe, _) in enumerate(self._workers)}
        found: dict[int, Any] = {}
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while len(found) < len(pipes):
            waiting = [pipe for pipe, rank in pipes.items() if rank not in found]
            ready = wait(waiting, max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            for pipe in ready:
                assert isinstance(pipe, Connection)
                rank = pipes[pipe]
                found[rank] = self._answer(rank)
                if isinstance(found[rank], DataError):
                    self.end()
                    raise found[rank]
                if isinstance(found[rank], _Failure):
                    # The first to fail may only have lost a peer.
                    deadline = min(deadline, time.monotonic() + SECONDS_FOR_THE_OTHERS)
        failures = [answer for answer in found.values() if isinstance(answer, _Failure)]
        if failures or len(found) < len(pipes):
            self.end()
            failures.sort(key=lambda failure: failure.state != State.OUT_OF_MEMORY)
            chosen = failures[0] if failures else _Failure(State.FAILED, f"no answer in {SECONDS_TO_ANSWER:g} s")
            raise FailedError(chosen.state, chosen.error)
        return [found[rank] for rank in range(len(pipes))]

    def end(self) -> None:
        """End the processes, at once; what they hold goes with them."""
        for process, pipe, _ in self._workers:
            process.kill()
            pipe.close()
        for process, _, _ in self._workers:
            process.join()
        self._workers = []

    def _answer(self, rank: int) -> Any:
        process, pipe, said = self._workers[rank]
        try:
            return pipe.recv()
        except (EOFError, OSError):
            process.join(SECONDS_FOR_THE_OTHERS)
            text = said.read_text(errors="replace") if said.exists() else ""
            return _ended(process.exitcode or 0, text)


@contextlib.contextmanager
def lanes(layout: LaneLayout, count: int = 1) -> Iterator[list[Lane]]:
    """So many lanes of processes, started and perhaps not yet ready; gone when the context ends."""
    with scratch.folder("batchscope-probe-", tempfile.gettempdir()) as folder:
        started: list[Lane] = []
        try:
            for lane in range(count):
                mine = Path(folder) / str(lane)
                mine.mkdir()
                started.append(Lane(replace(layout, folder=str(mine), lane=lane)))
            yield started
        finally:
            for one in started:
                one.end()


def ask_all(started: Sequence[Lane], question: str, *arguments: Any) -> list[list[Any]]:
    """The answers of all lanes, which work on the question at the same time, by lane and rank.

    Raises:
        FailedError: a worker failed.
    """
    for lane in started:
        lane.ask(question, *arguments)
    return [lane.answers() for lane in started]


def _ended(exit_code: int, said: str) -> _Failure:
    """What it means that a process ended without an answer."""
    how = f"ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with exit code {exit_code}"
    exhausted = memory.ended_exhausted(exit_code, said)
    state = State.OUT_OF_MEMORY if exhausted else State.FAILED
    last = _sign(said) if exhausted else (said.strip().splitlines() or [""])[-1]
    return _Failure(state, f"a worker {how}" + (f": {last}" if last else "")[:LONGEST_ERROR])


def _sign(said: str) -> str:
    """The line that says that memory ran out; nothing if none does."""
    return next((line.strip() for line in said.splitlines() if memory.is_exhausted(line)), "")


def _serve(layout: LaneLayout, rank: int, addresses: list[str], pipe: Connection, said: str) -> None:
    """The body of a process: an answer for each question, until its parent is gone."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
    # Ctrl-C reaches the whole terminal: the parent ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if addresses:
        task = {"type": "worker", "index": rank}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    worker: Worker | None = None

    def ready() -> None:
        nonlocal worker
        worker = Worker(layout, rank)

    if not _answered(pipe, ready):
        return
    while True:
        question, arguments = pipe.recv()
        if not _answered(pipe, getattr(worker, question), *arguments):
            return


def _answered(pipe: Connection, question: Callable[..., Any], *arguments: Any) -> bool:
    """Send the answer, or the failure that took its place."""
    try:
        answer = question(*arguments)
    except DataError as problem:
        # No other measurement would fare better.
        pipe.send(problem)
        return False
    except BaseException as problem:  # noqa: BLE001 - whatever it is, it is this measurement's result
        # To say so takes memory too.
        memory.lift_limit()
        state = State.OUT_OF_MEMORY if memory.is_exhausted(problem) else State.FAILED
        sign = _sign(str(problem))
        said = f"{type(problem).__name__}: {sign}" if sign else cause(problem)
        pipe.send(_Failure(state, said[:LONGEST_ERROR]))
        return False
    pipe.send(answer)
    return True


def _end_with_parent() -> None:
    """End when the parent has, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_ports:
        sockets = [open_ports.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]

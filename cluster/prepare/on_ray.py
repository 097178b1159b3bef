"""The files' work on a Ray cluster, by Ray Data: a task a file, results in the order of the files.

A task is one file read, checked, counted or tokenised; what it gives streams back through the object store, where Ray
holds it, and holds the tasks back, until the driver has taken it. Each thing a task gives is one row of the Ray
dataset: so batches, and with them row groups and shards, are those of a run without Ray. An error is given like a
result: the first one in the order of the files is raised, as without Ray, and not the one that came first.

On one machine of 2 processors this is not faster than without (`tests/benchmarks/prepare_speed.py`: 5,399 articles a
second against 5,879, Ray's start included), because tokenizers uses all processors by itself: it is for clusters.
"""

import contextlib
import logging
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from cluster.prepare.piece import Piece
from cluster.prepare.progress import Progress
from cluster.prepare.work import Task
from cluster.process import ray_session
from trainer.errors import NotReadyError, UserError

T = TypeVar("T")

# Ray Data gathers what a task gives until there is this much, and hands it on: a few batches of tokens.
BLOCK_BYTES = 4 * 2**20
# A task whose worker died is begun again. Ray Data would do so for ever (`-1` in its `remote_fn.py`); Ray 2.60 has no
# other way to say how often than an argument that is to go in 2.64.
MOST_RETRIES = 3


@dataclass(frozen=True)
class OnRay:
    """The work on the Ray that is connected."""

    address: str
    progress: Progress

    def each(self, stage: str, task: Task[T], pieces: Sequence[Piece]) -> Iterator[T]:
        """What the task gives for each piece, in their order, while it works on those that follow.

        Raises:
            UserError: the first one, in the order of the pieces, that the task raised.
            NotReadyError: the cluster cannot do the work.
        """
        import ray.data
        from ray.exceptions import RayError, RayTaskError
        from ray.util.annotations import RayDeprecationWarning

        # One block a piece is one task a piece.
        given = [pa.table({"piece": pa.array([pickle.dumps(piece)], pa.large_binary())}) for piece in pieces]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RayDeprecationWarning)
            found = ray.data.from_arrow(given).map_batches(
                partial(_work, task=task), batch_format="pyarrow", batch_size=1, max_retries=MOST_RETRIES
            )
        done, total = 0, max(1, sum(piece.source.bytes for piece in pieces))
        following = iter(pieces)
        try:
            for block in found.iter_batches(batch_size=None, batch_format="pyarrow"):
                for packed in block["found"]:
                    result = pickle.loads(packed.as_buffer())  # noqa: S301 - what our own task made, through Ray
                    if isinstance(result, UserError):
                        raise result
                    if result is not None:
                        yield result
                        continue
                    done += next(following).source.bytes
                    self.progress(stage, done / total)
        except RayError as problem:
            cause = problem.cause if isinstance(problem, RayTaskError) else problem
            if not isinstance(cause, RayError):
                # A bug of ours in the task: its report has the traceback.
                raise
            raise NotReadyError(
                f"the Ray cluster at {self.address} could not do the work ({_line(cause)}): look at its machines, "
                "their memory, and that each has this version of batchscope"
            ) from problem


@contextlib.contextmanager
def connected(address: str, progress: Progress) -> Iterator[OnRay]:
    """The Ray at `address`: `auto` or `host:port` for the cluster of this machine, `local` for a Ray of its own.

    Raises:
        InputError: an address of another kind.
        NotReadyError: there is no Ray, or it does not take us.
    """
    with ray_session.local() if address == "local" else ray_session.joined(address):
        from ray.data import DataContext

        with DataContext.current(_quiet_in_order()):
            yield OnRay(address, progress)


def _quiet_in_order() -> Any:
    """Ray Data's settings: results in the order of the pieces, nothing on the terminal."""
    from ray.data import DataContext

    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return context


def _work(block: pa.Table, *, task: Task[Any]) -> Iterator[pa.Table]:
    """The task on a machine of the cluster: what it gives for the piece in `block`, then None."""
    # A task has one processor: the others have tasks of their own.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for packed in block["piece"]:
        piece = pickle.loads(packed.as_buffer())  # noqa: S301 - what the driver made, through Ray
        try:
            for result in task(piece, lambda share: None):
                yield _packed(result)
        except UserError as problem:
            yield _packed(problem)
        yield _packed(None)


def _packed(result: object) -> pa.Table:
    return pa.table({"found": pa.array([pickle.dumps(result, protocol=5)], pa.large_binary())})


def _line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]

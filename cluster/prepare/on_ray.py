"""The work on a Ray cluster, through Ray Data: one task for each file, with results in the order of the files.

A task reads, checks, counts or tokenises one file. Its results stream back through the object store, where Ray keeps
them, and holds back the tasks, until the driver has taken them. Each result is one row of the Ray dataset, so batches,
and with them row groups and shards, are the same as without Ray. An error travels like a result: as without Ray, the
first one in the order of the files is raised, not the first in time.

On one machine with 2 processors this is not faster than without Ray (`tests/benchmarks/prepare_speed.py`: 5,399
articles a second against 5,879, including Ray's start), because tokenizers itself uses all processors. It is meant for
clusters.
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

# Ray Data collects a task's results up to this size before it passes them on: a few batches of tokens.
BLOCK_BYTES = 4 * 2**20
# A task whose worker died is started again. Ray Data would do so for ever (`-1` in its `remote_fn.py`); the only way in
# Ray 2.60 to limit that is an argument that will be removed in 2.64.
MOST_RETRIES = 3


@dataclass(frozen=True)
class OnRay:
    """Work on the Ray that is connected."""

    address: str
    progress: Progress

    def each(self, stage: str, task: Task[T], pieces: Sequence[Piece]) -> Iterator[T]:
        """The task's results for each piece, in the order of the pieces, while it works on later pieces.

        Raises:
            UserError: the first one, in the order of the pieces, that the task raised.
            NotReadyError: the cluster cannot do the work.
        """
        import ray.data
        from ray.exceptions import RayError, RayTaskError
        from ray.util.annotations import RayDeprecationWarning

        # One block for each piece makes one task for each piece.
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
                    result = pickle.loads(packed.as_buffer())  # noqa: S301 - made by our own task, through Ray
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
                # The task itself has a bug; the report of its error has the traceback.
                raise
            raise NotReadyError(
                f"the Ray cluster at {self.address} could not do the work ({_line(cause)}): check its machines, "
                "their memory, and that each has this version of batchscope"
            ) from problem


@contextlib.contextmanager
def connected(address: str, progress: Progress) -> Iterator[OnRay]:
    """The Ray at `address`: `auto` or `host:port` for the cluster of this machine, `local` for a new local Ray.

    Raises:
        InputError: the address is of another kind.
        NotReadyError: no Ray answers, or it does not accept this driver.
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
    """Run the task on a machine of the cluster: its results for the piece in `block`, then None."""
    # A task has one processor, because the others have tasks of their own.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for packed in block["piece"]:
        piece = pickle.loads(packed.as_buffer())  # noqa: S301 - made by the driver, through Ray
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

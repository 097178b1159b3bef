"""Where the work is done: `Here`, file by file in this process, or on Ray (`cluster.prepare.on_ray`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cluster.prepare.piece import Piece, Tell
from cluster.prepare.progress import Progress

T = TypeVar("T")

# The work on a piece, which yields results in the order of its rows. On Ray, the task and its results are pickled.
Task = Callable[[Piece, Tell], Iterator[T]]


class Work(Protocol):
    """Something that can do a task on every piece."""

    def each(self, stage: str, task: Task[T], pieces: Sequence[Piece]) -> Iterator[T]:
        """The results of `task` for each of the `pieces`, in their order; `stage` names it in the progress.

        Raises:
            UserError: the first one, in the order of the pieces, that the task raised.
        """


@dataclass(frozen=True)
class Here:
    """The work in this process; tokenizers uses all processors."""

    progress: Progress

    def each(self, stage: str, task: Task[T], pieces: Sequence[Piece]) -> Iterator[T]:
        """Work piece by piece, as the results are consumed."""
        done, total = 0, max(1, sum(piece.source.bytes for piece in pieces))
        for piece in pieces:

            def tell(share: float, before: int = done, size: int = piece.source.bytes) -> None:
                self.progress(stage, (before + share * size) / total)

            yield from task(piece, tell)
            done += piece.source.bytes

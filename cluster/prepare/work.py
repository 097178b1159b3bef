"""Where the files are worked on: `Here`, one after the other in this process, or on Ray (`cluster.prepare.on_ray`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cluster.prepare.piece import Piece, Tell
from cluster.prepare.progress import Progress

T = TypeVar("T")

# What is done to a piece, and what it gives, in the order of its rows. On Ray it and what it gives are pickled.
Task = Callable[[Piece, Tell], Iterator[T]]


class Work(Protocol):
    """Something that can do a task on every piece."""

    def each(self, stage: str, task: Task[T], pieces: Sequence[Piece]) -> Iterator[T]:
        """What `task` gives for each of the `pieces`, in their order; `stage` names it in the progress.

        Raises:
            UserError: the first one, in the order of the pieces, that the task raised.
        """


@dataclass(frozen=True)
class Here:
    """The work in this process; tokenizers uses all processors."""

    progress: Progress

    def each(self, stage: str, task: Task[T], pieces: Sequence[Piece]) -> Iterator[T]:
        """Piece after piece, as what it gives is asked for."""
        done, total = 0, max(1, sum(piece.source.bytes for piece in pieces))
        for piece in pieces:

            def tell(share: float, before: int = done, size: int = piece.source.bytes) -> None:
                self.progress(stage, (before + share * size) / total)

            yield from task(piece, tell)
            done += piece.source.bytes

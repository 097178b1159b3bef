"""A study's progress as lines of JSON in the log of its job: a driver writes them, `status` and `logs` read them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_KEY = "batchscope_progress"


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """Trials done and asked for in all runs of a study so far, those running now, and the same in a sentence.

    `failed` counts those of this run; `seconds_left` is None while there is no estimate. Older versions wrote neither.
    """

    done: int
    asked: int
    running: int
    text: str
    failed: int = 0
    seconds_left: float | None = None

    @property
    def nothing_left(self) -> bool:
        """Whether every trial is done, so that another run has nothing to train."""
        return self.done >= self.asked and not self.failed


def sentence(progress: StudyProgress) -> str:
    """The progress as a line for a person."""
    return progress.text


def to_line(progress: StudyProgress) -> str:
    """The progress as one line of JSON."""
    return json.dumps({_KEY: vars(progress)})


def of_line(line: str) -> StudyProgress | None:
    """The progress in a line of a log; None if the line is something else."""
    if not line.startswith(f'{{"{_KEY}"'):
        return None
    try:
        fields: dict[str, Any] = json.loads(line)[_KEY]
        return StudyProgress(
            done=int(fields["done"]),
            asked=int(fields["asked"]),
            running=int(fields["running"]),
            text=str(fields["text"]),
            failed=int(fields.get("failed") or 0),
            seconds_left=None if fields.get("seconds_left") is None else float(fields["seconds_left"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def last(lines: Iterable[str]) -> StudyProgress | None:
    """The newest progress in a log; None if it has none."""
    found = None
    for line in lines:
        found = of_line(line) or found
    return found


def readable(line: str) -> str:
    """A line of a log in readable form."""
    progress = of_line(line)
    return line if progress is None else progress.text

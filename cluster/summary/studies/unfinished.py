"""The mark of a study that a command is changing: until that command has ended, nothing else runs or changes the study.

A command writes it before its first change and deletes it after its last, so one that was killed in between leaves it.
The same command finishes what it began; `batchscope studies delete` does away with the study in any state.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from cluster.summary.store import Summary
from cluster.summary.studies.place import StudyPlace
from trainer.errors import InputError

COPY, MOVE, MERGE, DELETE = "copy", "move", "merge", "delete"


@dataclass(frozen=True)
class Change:
    """What is done to which studies; a rename is a move within one summary, and only a deletion has no target."""

    verb: str
    source: StudyPlace
    target: StudyPlace | None = None

    @property
    def command(self) -> str:
        """The command that does it."""
        source, target = self.source, self.target
        if target is None:
            words = [DELETE, source.study]
        elif self.verb == MERGE:
            words = [MERGE, source.summary.uri, source.study]
        elif target.summary == source.summary:
            words = ["rename", source.study, target.study]
        else:
            words = [self.verb, source.study, target.summary.uri]
        at = target if self.verb == MERGE and target else source
        return shlex.join(["batchscope", "studies", *words, "--summary", at.summary.uri])

    @property
    def mark(self) -> bytes:
        """The content of its mark."""
        places = [[place.summary.uri, place.study] for place in (self.source, self.target) if place]
        return json.dumps({"verb": self.verb, "places": places, "command": self.command}, sort_keys=True).encode()


def begin(place: StudyPlace, change: Change) -> None:
    """Mark the study."""
    place.store.write(_name(place.study), change.mark)


def end(place: StudyPlace) -> None:
    """Take the mark away."""
    place.store.delete(_name(place.study))


def is_marked(place: StudyPlace, change: Change) -> bool:
    """Whether this change of the study began and has not ended.

    Raises:
        InputError: another one has not.
    """
    there = _read(place.summary, place.study)
    if there is not None and there != change.mark:
        raise _refusal(place.summary, place.study, there)
    return there is not None


def refuse_unfinished(summary: Summary, study: str) -> None:
    """Refuse a study that a command has begun to change.

    Raises:
        InputError: it has; the message names the command.
    """
    if (there := _read(summary, study)) is not None:
        raise _refusal(summary, study, there)


def unfinished(summary: Summary) -> dict[str, str]:
    """The command that has not ended for each study that is marked."""
    names = (name.rpartition("/")[2] for name in summary.store.names("changes/"))
    studies = [name.removeprefix("study=").removesuffix(".json") for name in names]
    marks = {study: _read(summary, study) for study in studies}
    return {study: _command(mark) for study, mark in marks.items() if mark is not None}


def _name(study: str) -> str:
    return f"changes/study={study}.json"


def _read(summary: Summary, study: str) -> bytes | None:
    try:
        return summary.store.read(_name(study))
    except FileNotFoundError:
        return None


def _refusal(summary: Summary, study: str, mark: bytes) -> InputError:
    return InputError(
        f"{StudyPlace(summary, study)} is half-way through `{_command(mark)}`: run that again first, and it goes on "
        "where it ended"
    )


def _command(mark: bytes) -> str:
    try:
        fields: Any = json.loads(mark)
    except (ValueError, RecursionError):
        fields = None
    command = fields.get("command") if isinstance(fields, dict) else None
    return command if isinstance(command, str) else "batchscope studies"

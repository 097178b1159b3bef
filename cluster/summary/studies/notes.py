"""Notes on a study: dated texts of people, each an object of its own, so they are added beside a running driver."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cluster.summary.problems import Problem, tell
from cluster.summary.studies.place import StudyPlace
from cluster.summary.studies.unfinished import refuse_unfinished
from trainer.errors import InputError

MOST_CHARACTERS = 2000


@dataclass(frozen=True)
class Note:
    """What somebody wrote about a study, and when."""

    at: datetime
    text: str


def add(place: StudyPlace, text: str, *, at: datetime) -> Note:
    """Add a note to a study that is there.

    Raises:
        InputError: the text is empty or too long, or a command is changing the study.
        NotReadyError: the store cannot be used.
    """
    text = text.strip()
    if not 0 < len(text) <= MOST_CHARACTERS:
        raise InputError(f"a note of {len(text)} characters: give a text of 1 to {MOST_CHARACTERS}")
    refuse_unfinished(place.summary, place.study)
    body = json.dumps({"at": at.astimezone(UTC).isoformat(), "text": text}).encode()
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    name = f"{moment}-{hashlib.sha256(body).hexdigest()[:8]}.json"
    place.store.create(place.folder("notes") + name, body)
    # A command that began meanwhile may not have seen it.
    refuse_unfinished(place.summary, place.study)
    return Note(at, text)


def notes(place: StudyPlace) -> list[Note]:
    """The notes on a study, the oldest first; what is no note is reported and left out.

    Raises:
        NotReadyError: the store cannot be used.
    """
    found, problems = [], []
    for name in place.names("notes"):
        try:
            found.append(_note(place.store.read(place.folder("notes") + name)))
        except (ValueError, RecursionError, FileNotFoundError):
            problems.append(Problem(place.folder("notes") + name, "left out: it is not a note"))
    tell(problems, place.summary.note, uri=place.summary.uri, folder=place.folder("notes"))
    return sorted(found, key=lambda note: note.at)


def _note(content: bytes) -> Note:
    """The note in an object.

    Raises:
        ValueError: it is none.
    """
    fields: Any = json.loads(content)
    if not (isinstance(fields, dict) and isinstance(fields.get("text"), str) and isinstance(fields.get("at"), str)):
        raise ValueError("a note has a text and a time")
    at = datetime.fromisoformat(fields["at"])
    if at.tzinfo is None:
        raise ValueError("its time has no zone")
    return Note(at.astimezone(UTC), fields["text"])

"""What a target lacks of a study, found out before anything is written, and written in an order that readers can bear.

Nothing is shown under a new name before its trials, and its specs come last; every object is written whole, and only
what is already there in the same words is left out. So a command that was killed is repeated, and goes on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.summary.compact import COMPACTED, compact, each, publish
from cluster.summary.studies import rows
from cluster.summary.studies.place import StudyPlace
from cluster.summary.studies.specs import specs_to_write
from trainer.errors import InputError

# The objects that are created once, and copied as they are.
COPIED = ("probes", "fits", "notes")


@dataclass(frozen=True)
class Arrival:
    """What a target lacks of a source: `checkpoints` by name, and the name and content of other objects, in order."""

    source: StudyPlace
    target: StudyPlace
    checkpoints: Sequence[str]
    created: Sequence[tuple[str, bytes]]
    whole: Sequence[tuple[str, bytes]]
    specs: Sequence[tuple[str, bytes]]

    def is_complete(self) -> bool:
        """Whether the target lacks nothing."""
        return not (self.checkpoints or self.created or self.whole or self.specs)

    def write(self) -> None:
        """Write what the target lacks.

        Raises:
            ConflictError: somebody else writes there too.
            NotReadyError: a store cannot be used.
        """
        store = self.target.store
        each(self._copy_checkpoint, self.checkpoints)
        each(lambda item: publish(store, *item), self.created)
        for item in self.whole:
            publish(store, *item)
        for name, body in self.specs:
            store.write(name, body)
        compact(self.target.summary, self.target.study)

    def _copy_checkpoint(self, name: str) -> None:
        content = self.source.store.read(self.source.folder("checkpoints") + name)
        self.target.store.write(self.target.folder("checkpoints") + name, content)


def arrival(source: StudyPlace, target: StudyPlace) -> Arrival:
    """What the target lacks of the source.

    Raises:
        InputError: they are different studies, both have a row or an object with other content, or an object cannot be
            read.
        NotReadyError: a store cannot be used.
    """
    specs = list(specs_to_write(source, target))
    whole = [rows.addition(source, target, table) for table in reversed(COMPACTED)]
    created = [*_copied(source, target), *_attempts(source, target)]
    return Arrival(
        source=source,
        target=target,
        checkpoints=_checkpoints(source, target),
        created=created,
        whole=[item for item in whole if item is not None],
        specs=specs,
    )


def _copied(source: StudyPlace, target: StudyPlace) -> Iterator[tuple[str, bytes]]:
    for folder in COPIED:
        there = set(target.names(folder))
        for name in source.names(folder):
            content = source.store.read(source.folder(folder) + name)
            yield from _created(target, folder, name, content, is_there=name in there)


def _attempts(source: StudyPlace, target: StudyPlace) -> Iterator[tuple[str, bytes]]:
    """The markers of attempts, which name their study."""
    names, there = source.names("attempts"), set(target.names("attempts"))
    contents = each(lambda name: source.store.read(source.folder("attempts") + name), names)
    for name, content in zip(names, contents, strict=True):
        yield from _created(target, "attempts", name, _renamed(content, target), is_there=name in there)


def _created(
    target: StudyPlace, folder: str, name: str, content: bytes, *, is_there: bool
) -> Iterator[tuple[str, bytes]]:
    whole = target.folder(folder) + name
    if not is_there:
        yield whole, content
    elif target.store.read(whole) != content:
        raise InputError(
            f"{target.summary.uri}/{whole} has other content than the same of the other study: two machines wrote it, "
            "and neither may be lost; rename one of the studies, and keep both"
        )


def _renamed(marker: bytes, target: StudyPlace) -> bytes:
    try:
        fields = json.loads(marker)
    except (ValueError, RecursionError):
        # It says only that the attempt was begun, as before.
        return marker
    return (
        json.dumps({**fields, "study": target.study}, sort_keys=True).encode() if isinstance(fields, dict) else marker
    )


def _checkpoints(source: StudyPlace, target: StudyPlace) -> list[str]:
    """The checkpoints that the target lacks, and those of trials that have a later attempt in the source."""
    there = set(target.names("checkpoints"))
    ours, theirs = _last_attempts(target), _last_attempts(source)

    def is_later(name: str) -> bool:
        trial = name.partition("/")[0]
        return theirs.get(trial, 0) > ours.get(trial, 0)

    return [name for name in source.names("checkpoints") if name not in there or is_later(name)]


def _last_attempts(place: StudyPlace) -> dict[str, int]:
    last: dict[str, int] = {}
    for name in place.names("attempts"):
        trial, _, number = name.removesuffix(".json").partition("-")
        if number.isdecimal():
            last[trial] = max(last.get(trial, 0), int(number))
    return last

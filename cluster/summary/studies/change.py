"""Copying, moving, merging and deleting whole studies: safe beside readers, refused while a driver runs the study.

A killed command leaves every row readable in one place at least, and a mark (`cluster.summary.studies.unfinished`) that
keeps drivers away until the same command has finished. A move deletes nothing before all of it was read again at its
target. Trials keep their ids, which know no study's name.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.summary.compact import compact, each
from cluster.summary.driver.only import only_driver
from cluster.summary.query import names
from cluster.summary.store import ConflictError, check_writable
from cluster.summary.studies import unfinished
from cluster.summary.studies.arrival import Arrival, arrival
from cluster.summary.studies.place import FOLDERS, StudyPlace
from cluster.summary.studies.unfinished import COPY, DELETE, MERGE, MOVE, Change
from trainer.data.store import Folder
from trainer.errors import InputError, NotReadyError, nearest

Say = Callable[[str], None]


def copy(source: StudyPlace, target: StudyPlace, say: Say) -> None:
    """Copy a study to a place where there is none of its name; `say` is called with a text if there is a wait.

    Raises:
        InputError: a driver runs it, there is no such study, the target is taken, or an object cannot be read.
        NotReadyError: a store cannot be used, or the hold on a study was lost.
    """
    _bring(Change(COPY, source, target), say)


def merge(source: StudyPlace, target: StudyPlace, say: Say) -> None:
    """Add the rows of a study to those of the same study elsewhere.

    Raises:
        InputError: as for `copy`; or they are different studies, or have different rows of one attempt.
        NotReadyError: as for `copy`.
    """
    _bring(Change(MERGE, source, target), say)


def move(source: StudyPlace, target: StudyPlace, say: Say) -> None:
    """Move a study to another summary, or to another name in its own.

    Raises:
        InputError: as for `copy`.
        NotReadyError: as for `copy`.
    """
    change = Change(MOVE, source, target)
    with _both_held(change, say):
        if not unfinished.is_marked(source, change):
            _arrive(change)
            unfinished.begin(source, change)
        # Also after a kill, and because a note, which needs no hold, may have been added meanwhile.
        _settle(change)
        _erase(source)
        unfinished.end(target)
        unfinished.end(source)


def delete(place: StudyPlace, say: Say) -> None:
    """Delete a study with its notes and checkpoints, whatever another command has left of it.

    Raises:
        InputError: a driver runs it, or there is no such study.
        NotReadyError: the store cannot be used, or the hold on the study was lost.
    """
    refuse_missing(place)
    with _held(place, say):
        unfinished.begin(place, Change(DELETE, place))
        _erase(place)
        unfinished.end(place)


def refuse_missing(place: StudyPlace) -> None:
    """Refuse a study of which there is nothing, not even what a killed command left.

    Raises:
        InputError: there is nothing.
    """
    if not place.is_there() and place.study not in unfinished.unfinished(place.summary):
        known = names(place.summary)
        raise InputError(
            f"there is no {place}{nearest(place.study, known)}: `batchscope studies list --summary "
            f"{place.summary.uri}` lists them"
        )


def _bring(change: Change, say: Say) -> None:
    with _both_held(change, say) as target:
        unfinished.refuse_unfinished(change.source.summary, change.source.study)
        _arrive(change)
        unfinished.end(target)


def _arrive(change: Change) -> None:
    """Write what the target lacks, once nothing speaks against the change."""
    source, target = change.source, change.target
    assert target is not None
    begun = unfinished.is_marked(target, change)
    if change.verb != MERGE and not begun and target.is_there():
        raise InputError(
            f"there is a {target} already: choose another name, or `batchscope studies merge` what are two parts of "
            "one study"
        )
    lacking = arrival(source, target)
    check_writable(target.summary.uri)
    unfinished.begin(target, change)
    _write(lacking)


def _settle(change: Change) -> None:
    """Make sure that the target lacks nothing, by reading both again."""
    assert change.target is not None
    for _ in range(2):
        lacking = arrival(change.source, change.target)
        if lacking.is_complete():
            return
        _write(lacking)
    raise NotReadyError(
        f"{change.source} changes while it is moved, so nothing of it was deleted: find out what writes there, then "
        f"run `{change.command}` again"
    )


def _write(lacking: Arrival) -> None:
    try:
        lacking.write()
    except ConflictError as problem:
        raise InputError(f"{problem}; try again") from None


def _erase(place: StudyPlace) -> None:
    """Delete all objects of a study; each table, which is one object by then, at once."""
    # What cannot be compacted is deleted all the same.
    with contextlib.suppress(InputError, ConflictError):
        compact(place.summary, place.study)
    for folder in FOLDERS:
        each(place.store.delete, [place.folder(folder) + name for name in place.names(folder)])
        if isinstance(place.store, Folder):
            _remove_empty(Path(place.store.uri, place.folder(folder)))


def _remove_empty(folder: Path) -> None:
    """Remove a folder and those in it, as far as they are empty; that of the attempts has the driver's lock."""
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            inner.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def _both_held(change: Change, say: Say) -> Iterator[StudyPlace]:
    """Hold the source and the target of a change, and give the target."""
    source, target = change.source, change.target
    assert target is not None
    if source == target:
        raise InputError(f"{source} is there already: name another place, or another name")
    refuse_missing(source)
    with _held(source, say), _held(target, say):
        yield target


@contextlib.contextmanager
def _held(place: StudyPlace, say: Say) -> Iterator[None]:
    """Hold a study as its only driver would."""
    try:
        with only_driver(place.summary, place.study, say):
            yield
    except PermissionError as problem:
        raise InputError(
            f"{place} cannot be held, so that nobody runs it meanwhile ({problem.strerror}): change the permissions of "
            "its folder"
        ) from None

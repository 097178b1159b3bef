"""`batchscope studies`: the studies of a summary over the months, listed, described, moved and deleted."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cluster.cli import EXIT_NO

if TYPE_CHECKING:
    from cluster.summary.studies.place import StudyPlace

Command = Callable[..., Any]

_summary = click.option(
    "--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix."
)
_format = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group("studies", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List the studies of a summary, note why they were run, and move, merge or delete them.

    Alone it is `studies list`. What changes a study refuses one that runs, and disturbs no reader. A command that was
    killed goes on when it is run again.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_studies)


@command.command("list")
@click.option("--tag", help="Only the studies that have this tag.")
@_summary
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def list_studies(tag: str | None, uri: str, form: str) -> None:
    """List the studies: trials, when they were first run, tags and description."""
    from cluster.report import studies
    from cluster.summary import query
    from cluster.summary.store import Summary
    from cluster.summary.studies.unfinished import unfinished
    from cluster.text.formats import to_csv, to_json
    from cluster.text.table import to_text
    from cluster.text.wrapped import terminal_width

    summary = Summary(uri)
    rows = studies.listed(query.overview(summary), summary.store.names("notes/"), tag=tag)
    for study, half in sorted(unfinished(summary).items()):
        click.echo(f"{study} is half-way through `{half}`: run that again", err=True)
    if not rows.num_rows:
        click.echo(f"no studies{'' if tag is None else ' with this tag'} in {summary.uri}", err=True)
    if form == "json":
        click.echo(to_json(rows, name="studies"), nl=False)
    elif form == "csv":
        click.echo(to_csv(rows), nl=False)
    elif rows.num_rows:
        click.echo(to_text(studies.shortened(rows), studies.COLUMNS, width=terminal_width(sys.stdout)), nl=False)


@command.command()
@click.argument("study")
@_summary
@_format
def show(study: str, uri: str, form: str) -> None:
    """Show one study: description, tags, notes, trials, and when it was declared."""
    from cluster.report import studies
    from cluster.text.wrapped import terminal_width

    found = studies.shown(_place(uri, study))
    if form == "json":
        click.echo(json.dumps(studies.to_json(found), indent=2))
    else:
        click.echo(studies.text(found, terminal_width(sys.stdout)), nl=False)


@command.command()
@click.argument("study")
@click.argument("text")
@_summary
@_format
def note(study: str, text: str, uri: str, form: str) -> None:
    """Add the note TEXT, with the time, to STUDY; also while it runs."""
    from datetime import UTC, datetime

    from cluster.summary import query
    from cluster.summary.studies import notes

    place = _place(uri, study)
    query.asked(place.summary, study)
    added = notes.add(place, text, at=datetime.now(UTC))
    _tell(form, f"noted on {study}; `batchscope studies show {study}` shows it", "note", study, text=added.text)


@command.command()
@click.argument("study")
@click.argument("name")
@_summary
@_format
def rename(study: str, name: str, uri: str, form: str) -> None:
    """Give STUDY another NAME. Its trials keep their ids; write the name into its YAML file too."""
    from cluster.summary.studies import change

    change.move(_place(uri, study), _place(uri, name), _say)
    _tell(form, f"{study} is now {name}: write `study: {name}` into its file too", "rename", study, name=name)


@command.command()
@click.argument("study")
@click.argument("dest")
@_summary
@_format
def move(study: str, dest: str, uri: str, form: str) -> None:
    """Move STUDY to the summary DEST, a folder or s3://bucket/prefix, and delete it here."""
    from cluster.summary.studies import change

    target = _place(dest, study)
    change.move(_place(uri, study), target, _say)
    _tell(form, f"{study} is now in {target.summary.uri}", "move", study, summary=target.summary.uri)


@command.command()
@click.argument("study")
@click.argument("dest")
@_summary
@_format
def copy(study: str, dest: str, uri: str, form: str) -> None:
    """Copy STUDY to the summary DEST, a folder or s3://bucket/prefix."""
    from cluster.summary.studies import change

    target = _place(dest, study)
    change.copy(_place(uri, study), target, _say)
    _tell(form, f"{study} is also in {target.summary.uri}", "copy", study, summary=target.summary.uri)


@command.command()
@click.argument("source")
@click.argument("studies", nargs=-1)
@_summary
@_format
def merge(source: str, studies: tuple[str, ...], uri: str, form: str) -> None:
    """Add the STUDIES of the summary SOURCE, or all of them, to those of --summary.

    Rows that both have become one. A study of which both have different rows for one attempt is refused, and the others
    are merged.
    """
    from cluster.summary import query
    from cluster.summary.store import Summary
    from cluster.summary.studies import change
    from trainer.errors import InputError

    found = studies or tuple(query.names(Summary(source)))
    if not found:
        raise InputError(f"there are no studies in {Summary(source).uri}: give the address of a summary")
    refused = {}
    for study in found:
        try:
            change.merge(_place(source, study), _place(uri, study), _say)
        except InputError as problem:
            refused[study] = str(problem)
    merged = [study for study in found if study not in refused]
    if form == "json":
        click.echo(json.dumps({"schema_version": 1, "done": "merge", "studies": merged, "refused": refused}, indent=2))
    else:
        click.echo("".join(f"{study}: merged\n" for study in merged), nl=False)
    if refused:
        raise InputError("\n".join(refused.values()))


@command.command()
@click.argument("study")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_summary
@_format
def delete(study: str, yes: bool, uri: str, form: str) -> int:
    """Delete STUDY: its rows, its notes and its checkpoints, which nothing brings back."""
    from cluster.summary.studies import change
    from trainer.errors import InputError

    place = _place(uri, study)
    change.refuse_missing(place)
    if not yes:
        if not _is_asked(form):
            raise InputError(f"nothing was deleted, since nobody can be asked here: give --yes to delete {place}")
        if not click.confirm(f"delete {place}, with its notes and checkpoints?", err=True):
            click.echo("nothing was deleted", err=True)
            return EXIT_NO
    change.delete(place, _say)
    _tell(form, f"{study} is deleted", "delete", study)
    return 0


def _place(uri: str, study: str) -> "StudyPlace":
    """The study in the summary at an address.

    Raises:
        InputError: no study can have this name.
    """
    import re

    from cluster.study.names import LONGEST_NAME
    from cluster.summary.store import Summary
    from cluster.summary.studies.place import StudyPlace
    from trainer.errors import InputError, brief

    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9-]{{0,{LONGEST_NAME - 1}}}", study):
        raise InputError(
            f"{brief(study)!r} cannot be a study's name: give 1 to {LONGEST_NAME} letters, digits and '-', the first "
            "not a '-'"
        )
    return StudyPlace(Summary(uri), study)


def _is_asked(form: str) -> bool:
    """Whether a person is there who can be asked."""
    return form == "table" and sys.stdin.isatty()


def _say(text: str) -> None:
    click.echo(text, err=True)


def _tell(form: str, line: str, done: str, study: str, **more: str) -> None:
    """Print what was done."""
    if form == "json":
        line = json.dumps({"schema_version": 1, "done": done, "study": study, **more}, indent=2)
    click.echo(line)

"""`batchscope compact`: packs the many small files of studies that ended or were stopped into one for each table."""

from typing import Any

import click

from cluster.cli.answering import TEXT, put, text_or_json


@click.command("compact")
@click.argument("study", required=False)
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@text_or_json
def command(study: str | None, uri: str, form: str) -> None:
    """Make the results of STUDY, or of all studies, quick to read. No row changes, and readers are not disturbed.

    `batchscope run` does this when a study ends. A running study is left alone.
    """
    from cluster.summary import query
    from cluster.summary.compact import compact
    from cluster.summary.driver.only import only_driver
    from cluster.summary.store import ConflictError, Summary
    from trainer.errors import InputError

    summary = Summary(uri)
    if study is not None:
        query.asked(summary, study)
    done: list[dict[str, Any]] = []
    for name in [study] if study is not None else query.names(summary):
        try:
            with only_driver(summary, name, lambda line: click.echo(line, err=True)):
                deleted = compact(summary, name)
        except ConflictError as problem:
            raise InputError(f"{problem}; try again") from None
        except InputError as problem:
            if study is not None:
                raise
            click.echo(f"left alone: {problem}", err=True)
            done.append({"study": name, "removed_files": 0, "left_alone": str(problem)})
        else:
            if form == TEXT:
                click.echo(f"{name}: removed {deleted} small files" if deleted else f"{name}: nothing to do")
            done.append({"study": name, "removed_files": deleted, "left_alone": None})
    put(form, [], studies=done)

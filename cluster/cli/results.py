"""`batchscope results`: a study's points with means over seeds, the list of studies, or the answer to SQL."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.report.shape import TableShape
    from cluster.summary.store import Summary
    from cluster.text.table import Column

ATTEMPTS_NAMED = 5
FORMATS = ("table", "json", "csv", "parquet")


@click.command("results")
@click.argument("study", required=False)
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@click.option("--where", "condition", help="Only trials that match, such as 'global_batch in (16, 64)'.")
@click.option("--verdict", "with_verdict", is_flag=True, help="What the study shows, and what it cannot.")
@click.option(
    "--assert", "claims", metavar="CLAIM", multiple=True, help="Exit with 1 unless this is shown (see below)."
)
@click.option("--by", metavar="AXIS[,AXIS]", help="One row for each point of these axes only.")
@click.option("--sql", "text", metavar="Q", help="One SELECT on studies, trials, evaluations, points.")
@click.option("--columns", metavar="A[,B]", help="Only these columns, in this order.")
@click.option("--sort", metavar="COL[,-COL]", help="Sort by these columns; '-' before one puts the highest first.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option("--diff", is_flag=True, help="Only the columns in which the rows differ.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: by the ending of -o, or table]")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.")
def command(
    study: str | None,
    uri: str,
    condition: str | None,
    with_verdict: bool,
    claims: tuple[str, ...],
    by: str | None,
    text: str | None,
    columns: str | None,
    sort: str | None,
    limit: int | None,
    diff: bool,
    form: str | None,
    output: str | None,
) -> int:
    """Show what a study found: one row for each point of the axes, mean and deviation over seeds.

    Without STUDY, list the studies; with --where or --by, the points of all of them.

    A CLAIM for --assert, which may be repeated, is equivalent(A, B), worse(A, B), better(A, B), not_worse(A, B),
    decided(A, B) or use(A), with global batches, such as 'equivalent(32, 16)'. What is undecided is not shown.
    """
    from cluster.report.shape import TableShape, listed
    from cluster.summary.store import Summary
    from trainer.errors import InputError

    shape = TableShape(columns=listed(columns), sort=listed(sort), limit=limit, diff=diff)
    form = form or _form_of(output)
    if form == "parquet" and output is None:
        raise InputError("--format parquet is binary: name a file with -o FILE")
    if claims:
        from cluster.cli.asserting import check_claims

        if with_verdict or _narrowed(condition, by, text, shape):
            raise InputError("--assert is for one whole study: leave out --verdict, --where, --by and column options")
        return check_claims(Summary(uri), study, claims, form=form, output=output)
    if with_verdict:
        if study is None or _narrowed(condition, by, text, shape):
            raise InputError(
                "--verdict is for one whole study: name it, and leave out --where, --by and column options"
            )
        show_verdict(Summary(uri), study, form, output)
    elif text is not None:
        if condition is not None or by is not None:
            raise InputError("--sql does the work of --where and --by: leave those out")
        _show_answer(Summary(uri), study, text, shape, form, output)
    elif study is not None or condition is not None or by is not None:
        axes = None if by is None else list(listed(by))
        show_points(Summary(uri), study, axes, condition, form, output, shape=shape)
    else:
        _show_studies(Summary(uri), shape, form, output)
    return 0


def _narrowed(condition: str | None, by: str | None, text: str | None, shape: "TableShape") -> bool:
    """Whether an option asks for something other than one whole study."""
    from cluster.report.shape import TableShape

    return (condition, by, text) != (None, None, None) or shape != TableShape()


def _form_of(output: str | None) -> str:
    """The format that a file's ending names; a table for another ending, and without a file."""
    ending = os.path.splitext(output or "")[1].removeprefix(".").lower()
    return ending if ending in FORMATS else "table"


def _show_studies(summary: "Summary", shape: "TableShape", form: str, output: str | None) -> None:
    from cluster.report.points import STUDIES
    from cluster.summary import query

    found = query.overview(summary)
    if not found.num_rows:
        click.echo(f"no studies in {summary.uri} yet: `batchscope run STUDY.yaml` writes there", err=True)
    _put(found, "studies", STUDIES, [], form, output, shape=shape)


def _show_answer(
    summary: "Summary", study: str | None, text: str, shape: "TableShape", form: str, output: str | None
) -> None:
    from cluster.summary import query
    from cluster.text.table import asked_for

    if study is not None:
        query.asked(summary, study)
    found = query.sql(summary, text, study)
    if not found.num_rows:
        click.echo("the answer has no rows", err=True)
    _put(found, "sql", asked_for(found.column_names, []), [], form, output, shape=shape)


def show_points(
    summary: "Summary",
    study: str | None,
    by: list[str] | None = None,
    condition: str | None = None,
    form: str = "table",
    output: str | None = None,
    *,
    shape: "TableShape | None" = None,
) -> None:
    """Print or write the points of a study, or of all studies, and the lines that sum them up."""
    from cluster.analysis.failures import failures
    from cluster.report import learnt
    from cluster.report.failed import sentence, where_to_look
    from cluster.report.points import POINTS, STUDIES, lowest_line, progress_line
    from cluster.report.studies import about
    from cluster.summary import query

    asked = query.asked(summary, study) if study is not None else None
    trials = query.trials(summary, study, columns=query.NEEDED if condition is None else None)
    newest = query.newest(trials, query.studies(summary, study))
    points = query.points(trials, by=by, where=condition)
    if study is not None and query.task(summary, study) == "language_model":
        points = query.with_perplexity(points)
    if not points.num_rows:
        click.echo("no trial has ended yet" if condition is None else "--where matches no trial", err=True)
    if query.mixes_trials(points):
        click.echo(
            "note: some points hold several trials of one seed, which differ in an axis that is not shown or in the "
            "study's model or data, so their deviations are not over seeds alone",
            err=True,
        )
    columns, lines, above = POINTS, [], []
    if study is None:
        columns = [STUDIES[0], *columns]
    else:
        _say_attempts_without_row(summary, study)
        above = [about(row) for row in query.studies(summary, study).to_pylist()[-1:]]
        counts = query.states(newest)
        earlier = query.states(trials)["trials"] - counts["trials"]
        lines = [progress_line(counts, asked, earlier=earlier)]
        failed = failures(newest, asked)
        lines += filter(None, [sentence(failed), where_to_look(failed, study, summary.uri)])
        if condition is None:
            lines += learnt.lines(query.studies(summary, study), newest)
    of_newest = points if newest.num_rows == trials.num_rows else query.points(newest, by=by, where=condition)
    for row in query.lowest(query.judged(of_newest)).to_pylist():
        line = lowest_line(row, by or query.POINT)
        lines.append(line if study is not None else f"{row['study']}: {line}")
    _put(points, "points", columns, lines, form, output, shape=shape, above=above)


def _say_attempts_without_row(summary: "Summary", study: str) -> None:
    """Name the attempts that began and left no row: a summary cannot tell running attempts from lost ones."""
    names = [f"{row['trial_id']}-{row['attempt']}" for row in summary.lost_attempts(study)]
    if names:
        shown = ", ".join(names[:ATTEMPTS_NAMED]) + (" and others" if len(names) > ATTEMPTS_NAMED else "")
        click.echo(
            f"note: {len(names)} attempts of {study} have no row yet ({shown}): they are running, or were killed (run "
            "the study again to go on); if neither is so, rows are lost, as when compacted summaries of two machines "
            "are copied over each other",
            err=True,
        )


def show_verdict(summary: "Summary", study: str, form: str = "table", output: str | None = None) -> None:
    """Print or write the verdict on a study: its cells, its sentences, and what cannot be concluded."""
    from cluster.analysis.verdict import judge
    from cluster.report import verdict as words
    from cluster.report import verdict_table
    from cluster.report.failed import where_to_look
    from cluster.summary import query

    query.asked(summary, study)
    _say_attempts_without_row(summary, study)
    verdict = judge(query.specs(summary, study), query.trials(summary, study), query.evaluations(summary, study))
    sentences = words.sentences(verdict)
    as_json = verdict_table.to_json(verdict, sentences)
    lines = ["", *sentences, *words.warnings(verdict)]
    lines += filter(None, [where_to_look(verdict.failures, study, summary.uri)])
    _put(verdict_table.table(verdict), "verdict", verdict_table.COLUMNS, lines, form, output, as_json=as_json)


def _put(
    found: "pa.Table",
    name: str,
    columns: "list[Column]",
    lines: list[str],
    form: str,
    output: str | None,
    *,
    shape: "TableShape | None" = None,
    as_json: str | None = None,
    above: Sequence[str] = (),
) -> None:
    from cluster.process.files import save
    from cluster.report.shape import TableShape, shaped
    from cluster.text import formats
    from cluster.text.plain import plain
    from cluster.text.table import asked_for, to_text
    from cluster.text.wrapped import terminal_width, wrapped

    shape = shape or TableShape()
    if shape.limit is not None and shape.limit < found.num_rows:
        click.echo(f"showing the first {shape.limit} of {found.num_rows} rows", err=True)
    found = shaped(found, shape)
    if shape.columns:
        columns = asked_for(found.column_names, columns)
    if form == "json":
        text = as_json or formats.to_json(found, name=name)
    elif form == "csv":
        text = formats.to_csv(found)
    elif form == "table":
        width = terminal_width(sys.stdout) if output is None else None
        text = "".join(f"{wrapped(plain(line), width)}\n\n" for line in above if line)
        text += to_text(found, columns, width=width) if found.num_rows else ""
        text += "".join(f"{wrapped(line, width)}\n" for line in lines)
    if output is not None:
        save(formats.to_parquet(found) if form == "parquet" else text.encode(), output)
    else:
        click.echo(text, nl=False)

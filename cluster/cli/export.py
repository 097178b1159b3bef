"""`batchscope export`: a trained model for plain Keras, or a study for papers, tables, MLflow and TensorBoard."""

from typing import TYPE_CHECKING

import click

from cluster.cli.answering import JSON, TEXT, put

if TYPE_CHECKING:
    from cluster.exports.model import ModelFiles
    from cluster.summary.store import Summary

# The options that choose a kind of export, and the kinds with which each other option may be used.
ASKING = {"--trial": "model", "-o": "model", "--tables": "tables", "--plots": "plots", "--to": "runs"}
GOING_WITH = {
    "--at": ("model",),
    "--data": ("model",),
    "--factory": ("model",),
    "--format": ("tables", "plots"),
    "--force": ("model", "tables", "plots"),
}
FORMATS = {"tables": ("parquet", "csv"), "plots": ("svg", "png")}


@click.command("export")
@click.argument("study", required=False)
@click.option("--trial", "prefix", metavar="ID", help="The trial: its id, its first digits, or best.")
@click.option("-o", "--output", metavar="FILE.keras", type=click.Path(dir_okay=False), help="Write the model here.")
@click.option(
    "--at",
    type=click.Choice(["initial", "best", "last"]),
    default="best",
    show_default=True,
    help="The weights before training, at the lowest validation loss, or at the end.",
)
@click.option("--data", metavar="FOLDER", help="Where the prepared data are now, if they were moved.")
@click.option("--factory", metavar="MODULE:FUNCTION", help="Agree to run this function, if it builds the model.")
@click.option("--tables", metavar="FOLDER", type=click.Path(file_okay=False), help="All tables.")
@click.option("--plots", metavar="FOLDER", type=click.Path(file_okay=False), help="The plots.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv", "svg", "png", JSON]),
    help="Tables: parquet (default) or csv. Plots: svg (default) or png, 1950 pixels wide. json: what is printed.",
)
@click.option(
    "--to",
    "target",
    metavar="WHERE",
    help="mlflow:URI (a folder or a server's http:// address) or tensorboard:FOLDER.",
)
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@click.option("--force", is_flag=True, help="Replace files that exist already.")
@click.pass_context
def command(
    context: click.Context,
    study: str | None,
    prefix: str | None,
    at: str,
    output: str | None,
    uri: str,
    data: str | None,
    factory: str | None,
    tables: str | None,
    plots: str | None,
    form: str | None,
    target: str | None,
    force: bool,
) -> None:
    """Export a trained model, the tables, the plots or the runs of STUDY; one kind at a time.

    \b
    export STUDY                           list the trials that have ended
    export STUDY --trial ID -o m.keras     a model, its tokenizer and labels
    export STUDY --trial best -o m.keras   that with the lowest validation loss
    export [STUDY] --tables FOLDER         studies, trials, evaluations,
                                           probes, fits, points; verdicts
    export STUDY --plots FOLDER            the page's plots, for a paper
    export STUDY --to mlflow:URI           a run for each trial
    export STUDY --to tensorboard:FOLDER   a run for each trial

    Keras loads a model without batchscope. --tables without STUDY takes all studies. Repeating --to, even while the
    study runs, adds what is new and duplicates nothing. MLflow needs `pip install 'batchscope[mlflow]'`, and png
    needs `pip install 'batchscope[images]'`.
    """  # noqa: D301 - \b is click's: do not fill these lines
    from cluster.summary.store import Summary
    from trainer.errors import InputError

    kind = _kind(context)
    if study is None and kind != "tables":
        raise InputError("name a STUDY: `batchscope results` lists them (only --tables works without one)")
    printed, form = (JSON, _format(kind, None)) if form == JSON else (TEXT, _format(kind, form))
    summary = Summary(uri)
    if tables is not None:
        put(printed, files := _tables(summary, study, tables, form, force), study=study, files=files)
        return
    assert study is not None
    if plots is not None:
        put(printed, files := _plots(summary, study, plots, form, force), study=study, files=files)
    elif target is not None:
        _runs(summary, study, target, printed)
    elif kind is None:
        _list(summary, study, printed)
    elif prefix is None or output is None:
        missing = "--trial ID" if prefix is None else "-o model.keras"
        raise InputError(f"{missing} is missing: `batchscope export {study} --summary {uri}` lists the trials")
    else:
        from cluster.exports import model

        _model(summary, study, prefix, model.files_of(output, force=force), printed, at=at, data=data, factory=factory)


def _kind(context: click.Context) -> str | None:
    """The requested kind of export; None if none is requested."""
    from trainer.errors import InputError

    given = [
        option.opts[0]
        for option in context.command.params
        if context.get_parameter_source(str(option.name)) == click.core.ParameterSource.COMMANDLINE
    ]
    kinds = {ASKING[flag]: flag for flag in given if flag in ASKING}
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(kinds.values())} are different exports: give only one of them")
    for flag in given:
        if flag == "--format" and context.params["form"] == JSON:
            continue
        wanted = GOING_WITH.get(flag)
        if wanted and not kinds.keys() & set(wanted):
            asking = " or ".join(asks for asks, kind in ASKING.items() if kind in wanted)
            raise InputError(f"{flag} works only with {asking}")
    return next(iter(kinds), None)


def _format(kind: str | None, form: str | None) -> str:
    from trainer.errors import InputError

    formats = FORMATS.get(kind or "", ("",))
    if form is not None and form not in formats:
        raise InputError(f"--format {form} does not work with --{kind}: give {' or '.join(formats)}")
    return form or formats[0]


def _list(summary: "Summary", study: str, printed: str) -> None:
    from cluster.exports import model
    from cluster.text.formats import to_json
    from cluster.text.table import to_text

    ended = model.listing(summary, study)
    if not ended.num_rows:
        click.echo("no trial has ended yet", err=True)
    click.echo(to_json(ended, name="trials") if printed == JSON else to_text(ended, model.COLUMNS), nl=False)


def _model(
    summary: "Summary",
    study: str,
    prefix: str,
    files: "ModelFiles",
    printed: str,
    *,
    at: str,
    data: str | None,
    factory: str | None,
) -> None:
    from cluster.exports import model
    from cluster.exports.example import example
    from cluster.exports.factory import file_of
    from cluster.exports.found import find
    from cluster.summary.tables import COMPLETED
    from trainer.data.inputs import TOKENS

    found = find(summary, study, prefix, data=data)
    if (named := found.trial.model.factory) is not None:
        click.echo(f"the model is built by {named}, from {file_of(named, agreed=factory)}", err=True)
    for remark in model.export(found, files, at=at, factory=factory):
        click.echo(f"note: {remark}", err=True)
    if found.state != COMPLETED:
        ended = f"ended {found.state}" if found.state else "has no result yet"
        click.echo(f"note: this trial {ended}", err=True)
    if found.trial.model.factory is not None:
        click.echo(
            f"note: layers that {found.trial.model.factory} defines itself are needed to load the model too", err=True
        )
    tokenizer = [files.tokenizer] if found.manifest.kind == TOKENS else []
    written, code = [files.model, *tokenizer, files.about], example(found, files)
    known = {"study": study, "trial_id": found.trial.trial_id, "state": found.state, "at": at}
    put(printed, [*written, f"\n{code.rstrip()}"], **known, files=written, example=code)


def _tables(summary: "Summary", study: str | None, folder: str, form: str, force: bool) -> list[str]:
    from cluster.exports import files, tables
    from cluster.prepare.progress import bar

    found = tables.read(summary, study)
    names, contents = tables.names(found, form=form), tables.contents(found, form=form)
    with bar() as progress:
        return files.write(folder, names, contents, force=force, progress=progress)


def _plots(summary: "Summary", study: str, folder: str, form: str, force: bool) -> list[str]:
    from cluster.exports import files, plots
    from cluster.prepare.progress import bar
    from cluster.report.page.page import charts

    drawn = charts(summary, study)
    names, contents = plots.names(drawn, form=form), plots.contents(drawn, form=form)
    with bar() as progress:
        return files.write(folder, names, contents, force=force, progress=progress)


def _runs(summary: "Summary", study: str, target: str, printed: str) -> None:
    from cluster.exports import mlflow, runs, tensorboard
    from cluster.prepare.progress import bar
    from cluster.text.masked import masked
    from trainer.errors import InputError

    kind, colon, place = target.partition(":")
    if not colon or kind not in ("mlflow", "tensorboard"):
        raise InputError(f"--to {masked(target)} is neither mlflow:URI nor tensorboard:FOLDER")
    found = runs.read(summary, study)
    with bar() as progress:
        export = mlflow.export if kind == "mlflow" else tensorboard.export
        counts = export(found, place, progress=progress)
    line = f"{len(found)} runs of {study} in {kind}: " + ", ".join(f"{n} {what}" for what, n in counts.items())
    put(printed, [line], study=study, kind=kind, runs=len(found), counts=counts)
    if kind == "mlflow" and mlflow.is_folder(place):
        click.echo(
            f"note: MLflow 3.13 and later opens a folder only with: MLFLOW_ALLOW_FILE_STORE=true mlflow ui "
            f"--backend-store-uri {place}",
            err=True,
        )

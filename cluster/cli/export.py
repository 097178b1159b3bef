"""`batchscope export`: a trained model as a .keras file that plain Keras loads, with its tokenizer beside it."""

import click


@click.command("export")
@click.argument("study")
@click.option("--trial", "prefix", metavar="ID", help="The trial, by its id or enough of its first digits.")
@click.option(
    "--at",
    type=click.Choice(["initial", "best", "last"]),
    default="best",
    show_default=True,
    help="Before training, at the lowest validation loss, or at the end.",
)
@click.option("-o", "--output", metavar="FILE.keras", type=click.Path(dir_okay=False), help="Write the model here.")
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@click.option("--data", metavar="FOLDER", help="Where the prepared data lie now, if the study says otherwise.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
def command(
    study: str, prefix: str | None, at: str, output: str | None, uri: str, data: str | None, force: bool
) -> None:
    """Write a trial's model as FILE.keras, with FILE.tokenizer.json and FILE.json (label names, axes) beside it.

    Keras loads it without batchscope. Without --trial, list the trials of STUDY that have ended.
    """
    from cluster import export
    from cluster.export_example import example
    from cluster.report import table
    from cluster.summary.store import Summary
    from cluster.summary.tables import COMPLETED
    from trainer.errors import InputError
    from trainer.inputs import TOKENS

    summary = Summary(uri)
    if prefix is None and output is None:
        ended = export.listing(summary, study)
        if not ended.num_rows:
            click.echo("no trial has ended yet", err=True)
        click.echo(table.to_text(ended, export.COLUMNS), nl=False)
        return
    if prefix is None or output is None:
        missing = "--trial ID" if prefix is None else "-o model.keras"
        raise InputError(f"{missing} is missing: `batchscope export {study} --summary {uri}` lists the trials")
    files = export.files_of(output, force=force)
    found = export.find(summary, study, prefix, data=data)
    export.export(found, files, at=at)
    if found.state != COMPLETED:
        click.echo(f"note: this trial is not completed, but {found.state or 'without a result yet'}", err=True)
    if found.trial.model.factory is not None:
        click.echo(
            f"note: layers that {found.trial.model.factory} defines itself are needed to load the model too", err=True
        )
    tokenizer = [files.tokenizer] if found.manifest.kind == TOKENS else []
    click.echo("\n".join([files.model, *tokenizer, files.about]))
    click.echo(f"\n{example(found, files)}", nl=False)

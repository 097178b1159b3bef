"""`batchscope report`: one self-contained page on a study."""

import click

from cluster.cli.answering import put, text_or_json


@click.command("report")
@click.argument("study")
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.  [default: STUDY.html]")
@text_or_json
def command(study: str, uri: str, output: str | None, form: str) -> None:
    """Write a page on STUDY: its verdict, plots, tables and every number, in one file that works offline."""
    from cluster.process.files import check_folder, save
    from cluster.report.page.page import page
    from cluster.summary.store import Summary

    path = output or f"{study}.html"
    check_folder(path)
    document = page(Summary(uri), study).encode()
    save(document, path)
    click.echo(f"{path}: {len(document) / 1e6:.2f} MB; open it in a browser", err=True)
    put(form, [], study=study, file=path, bytes=len(document))

"""`batchscope demo`: the bundled articles, prepared, checked, studied and read, in minutes on a laptop."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_NO

if TYPE_CHECKING:
    from cluster.study.study import Study
    from cluster.summary.store import Summary

STUDY = """\
# batchscope run {folder}/study.yaml
# Time: about 2 minutes on two cores. Cost: nothing. Result: a table of 7 global batches. Run it again to resume.
# 9,033 lead paragraphs of English Wikipedia articles in 11 topics. At equal epochs a small batch makes more updates
# than a large one: the table shows what that does here, with the rate scaled by the square root of the batch.
study: demo
data: {folder}/data
summary: {folder}/summary
task: classification
model: {{embedding_units: 48, lstm_units: 32, dropout: 0.3}}
axes:
  global_batch: [16, 17, 32, 64, 128, 256, 512]
  learning_rate: {{around: 0.004, at: 32, rule: sqrt}}
  seeds: 2
budget: {{epochs: 4}}
# So often that 16 has been evaluated by the 57 updates that 512 makes in all: they can be ranked at equal updates too.
evaluate_every: {{examples: 912}}
"""


@click.command()
@click.option("--folder", default="batchscope-demo", show_default=True, type=click.Path(file_okay=False))
@click.option(
    "--table", is_flag=True, help="Compare 15 epochs of 16, 15 of all rows and 150 of all rows instead, in a minute."
)
def command(folder: str, table: bool) -> int:
    """Study the bundled Wikipedia articles on this machine: global batches of 16 to 512, two seeds.

    It ends with a table, a page for a browser, and the commands that come next.
    """
    if table:
        from cluster.cli.demo_table import run_table

        return run_table(Path(folder) / "table")
    from cluster.cli.run import run_and_watch
    from cluster.report.next_commands import program_name
    from cluster.report.reading import two_lines
    from cluster.study.spec import load
    from cluster.summary import query
    from cluster.summary.store import Summary

    study_file = _made_ready(Path(folder))
    spec = load(study_file)
    status = run_and_watch(spec, before=_checked)
    summary = Summary(spec.summary)
    trials = query.newest(query.trials(summary, spec.study), query.studies(summary, spec.study))
    points = query.points(trials, by=["global_batch"])
    for line in two_lines(points, spec.model_dump(mode="json")["budget"]):
        click.echo(line)
    click.echo(f"its page is {_page(summary, spec.study, Path(folder))}")
    click.echo(f"the study is {study_file}: change it, then run it again: {program_name()} run {study_file}")
    return status


def _page(summary: "Summary", study: str, folder: Path) -> str:
    """Write the study's page, and return its address for a browser."""
    from cluster.process.files import save
    from cluster.report.page.page import page

    file = folder / f"{study}.html"
    save(page(summary, study).encode(), str(file))
    return file.absolute().as_uri()


def _made_ready(folder: Path) -> Path:
    """Prepare the bundled articles and write the study file, unless an earlier demo did."""
    from cluster.articles import path
    from cluster.prepare import prepare

    if not (folder / "data" / "manifest.json").exists():
        click.echo("preparing the bundled Wikipedia articles ...", err=True)
        prepare([str(path())], str(folder / "data"), text="text", label="label", max_tokens=64, vocabulary=10_000)
    study_file = folder / "study.yaml"
    if not study_file.exists():
        study_file.write_text(STUDY.format(folder=folder))
    return study_file


def _checked(study: "Study") -> None:
    from cluster.cli.check import check_study, line

    for checked in check_study(study):
        click.echo(line(checked), err=True)
        if not checked.passed:
            sys.exit(EXIT_NO)

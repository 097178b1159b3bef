"""`batchscope probe`: what fits and how fast it runs, measured on this machine, batch by batch."""

import contextlib
from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_FAILED_TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
@click.option("--global-batch", "global_batches", metavar="B[,B]", help="Time these instead of the study's.")
@click.option("--micro-batch", "micro_batches", metavar="M[,M]", help="Measure the memory of these only.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(study_file: str, global_batches: str | None, micro_batches: str | None, form: str) -> int:
    """Measure the memory of micro-batches and the speed of global batches, in the study's own layout of workers.

    Running out of memory is a result, not a failure. The measurements go to the summary's table `probes`.
    """
    from cluster.measure.probe import probe
    from cluster.report import probe_text
    from cluster.study.capacity import this_machine
    from cluster.study.preflight import examine
    from cluster.study.spec import load
    from cluster.summary.store import Summary, check_writable
    from cluster.summary.tables import FAILED, table_of
    from cluster.text.formats import to_json

    spec = load(study_file)
    study = examine(spec, this_machine(with_gpus=spec.resources.gpus_per_worker > 0))
    rows = study.manifest.splits["train"].rows
    batches = _sizes("--global-batch", global_batches, rows)
    micros = _sizes("--micro-batch", micro_batches, rows)
    check_writable(study.spec.summary)
    with _talk(probe_text.headline(study.placed.lanes, study.workers, study.placed.threads_per_worker)) as say:
        found = probe(study, global_batches=batches, micro_batches=micros, say=say)
    Summary(study.spec.summary).write_probe(found)
    if form == "json":
        click.echo(to_json(table_of("probes", found), name="probes"), nl=False)
    else:
        click.echo(probe_text.text(found), nl=False)
    return EXIT_FAILED_TRIALS if any(row["state"] == FAILED for row in found) else 0


@contextlib.contextmanager
def _talk(headline: str) -> "Iterator[Callable[[str], None]]":
    """A function that prints a line on stderr; on a terminal a spinner turns below the last line."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print(headline, soft_wrap=True, highlight=False)
    with console.status("measuring") if console.is_terminal else contextlib.nullcontext():
        yield lambda line: console.print(line, soft_wrap=True, highlight=False, markup=False)


def _sizes(option: str, text: str | None, rows: int) -> list[int] | None:
    """The whole numbers in an option.

    Raises:
        InputError: the option has something else, or a size above the number of rows.
    """
    from trainer.errors import InputError

    if text is None:
        return None
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: give whole numbers separated by commas, such as 16,17,32") from None
    for size in sizes:
        if not 1 <= size <= rows:
            raise InputError(f"{option} {size}: give 1 to {rows}, the number of rows of the train split")
    return sizes

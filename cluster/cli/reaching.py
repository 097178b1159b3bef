"""The options with which a command reaches a cluster, and the cluster's jobs as a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cluster.jobs.head import Head
    from cluster.jobs.job import Job
    from cluster.report.progress_lines import StudyProgress
    from trainer.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])
FORMATS = ("table", "json")
ADDRESS_VARIABLES = ["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"]


def cluster_options(command: Command) -> Command:
    """The options `--address`, which must be given, and `--token-file`."""
    return _options(command, _refuse_none)


def trial_or_cluster_options(command: Command) -> Command:
    """The same options for a command that may do without a cluster."""
    return _options(command, lambda context, option, address: address)


def _options(command: Command, checked: Callable[[click.Context, click.Parameter, str | None], str | None]) -> Command:
    address = click.option(
        "--address",
        envvar=ADDRESS_VARIABLES,
        show_envvar=True,
        callback=checked,
        metavar="URL",
        help="The dashboard of the cluster's head, such as http://127.0.0.1:8265.",
    )
    token = click.option(
        "--token-file",
        metavar="FILE",
        help="The file with the cluster's token.  [default: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token]",
    )
    return address(token(command))


def _refuse_none(context: click.Context, option: click.Parameter, address: str | None) -> str:
    if address is None and not context.resilient_parsing:
        raise no_address()
    return address or ""


def no_address() -> "InputError":
    """The error of a command that needs a cluster and was given none."""
    from trainer.errors import InputError

    return InputError(
        "no cluster is named: give its dashboard with --address, such as http://127.0.0.1:8265, or in "
        "RAY_API_SERVER_ADDRESS. What ran on this machine needs none: `batchscope results` lists its studies, "
        "`batchscope serve` shows them live, and `batchscope logs STUDY --trial ID` has what a trial left"
    )


format_option = click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)


def reach(address: str, token_file: str | None) -> "Head":
    """The cluster's head, connected.

    Raises:
        InputError: the address or the token file is wrong.
        NotReadyError: the head does not answer, or refuses us.
    """
    from cluster.jobs.address import find_token, parse_address
    from cluster.jobs.head import connect

    return connect(parse_address(address), lambda: find_token(token_file))


def show_jobs(jobs: "Sequence[Job]", form: str, progress: "Mapping[str, StudyProgress | None]") -> None:
    """Print one row for each job; `progress` has the numbers of trials done and asked for, by job id."""
    import pyarrow as pa

    from cluster.text.formats import to_json
    from cluster.text.table import Column, to_text

    columns = [
        Column("study", ("", "study")),
        Column("state", ("", "state")),
        Column("trials_done", ("trials", "done")),
        Column("trials_asked", ("trials", "asked")),
        Column("trials_failed", ("trials", "failed"), rare=True),
        Column("seconds_left", ("left", "s"), decimals=0),
        Column("submitted_at", ("submitted", "UTC")),
        Column("seconds", ("duration", "s"), decimals=0),
        Column("exit_code", ("exit", "code")),
        Column("job", ("", "job")),
    ]
    counts, times = [pa.int64()] * 3, [pa.float64(), pa.timestamp("ms", "UTC"), pa.float64()]
    kinds = [pa.string(), pa.string(), *counts, *times, pa.int64()]
    schema = pa.schema(list(zip((column.name for column in columns), [*kinds, pa.string()], strict=True)))
    found = pa.Table.from_pylist([_row(job, progress.get(job.id)) for job in jobs], schema=schema)
    if form == "json":
        click.echo(to_json(found, name="jobs"), nl=False)
    elif jobs:
        click.echo(to_text(found, columns), nl=False)


def _row(job: "Job", progress: "StudyProgress | None") -> dict[str, Any]:
    return {
        "study": job.study,
        "state": job.state,
        "trials_done": progress.done if progress else None,
        "trials_asked": progress.asked if progress else None,
        "trials_failed": progress.failed if progress else None,
        "seconds_left": progress.seconds_left if progress and job.active else None,
        "submitted_at": job.submitted_at,
        "seconds": job.seconds,
        "exit_code": job.exit_code,
        "job": job.id,
    }

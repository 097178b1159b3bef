"""Submits a study to a cluster, and follows a job's log there to the study's exit code."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_INTERRUPTED
from cluster.cli.answering import TEXT, put

if TYPE_CHECKING:
    from cluster.jobs.head import Head
    from cluster.jobs.job import Job
    from cluster.study.spec import StudySpec


def hand_over(head: "Head", spec: "StudySpec", *, budget: str | None, wait: bool, form: str) -> int:
    """Submit a study, print what to do next, follow it if `wait`, and return the exit code.

    In the form `json`, stdout is one document, and the log goes to stderr.
    """
    from cluster.jobs.submit import submit
    from cluster.study.factory_code import factory_of, to_ship

    code = to_ship(spec, Path.cwd())
    if code:
        click.echo(f"the code of the model goes with the job: {', '.join(code)}", err=True)
    elif (factory := factory_of(spec)) is not None:
        click.echo(f"the model's factory {factory} is installed here, and must be on the cluster's machines", err=True)
    submitted = submit(head, spec, budget=budget, code=code)
    job = submitted.job
    if submitted.before:
        since = f"{job.submitted_at:%Y-%m-%d %H:%M} UTC"
        click.echo(f"study {job.study} is there already: job {job.id}, {job.state} since {since}", err=True)
    else:
        click.echo(f"study {job.study} submitted as job {job.id}", err=True)
    known = {"study": job.study, "job": job.id, "submitted": not submitted.before}
    if wait:
        status = follow_to_end(head, job, to_stderr=form != TEXT)
        put(form, [], **known, exit_code=status)
        return status
    click.echo(
        f"the study runs without this machine; `batchscope logs -f {job.study}` follows it, "
        f"`batchscope stop {job.study}` saves and stops it",
        err=True,
    )
    put(form, [job.id], **known, exit_code=None)
    return 0


def show_line(line: str, *, to_stderr: bool = False) -> None:
    """Print a line of a job's log in readable form."""
    from cluster.report.progress_lines import readable
    from cluster.text.plain import plain

    for part in readable(line.rstrip("\r")).split("\n"):
        click.echo(plain(part.expandtabs()), err=to_stderr)


def follow_to_end(head: "Head", job: "Job", *, to_stderr: bool = False) -> int:
    """Print a job's log until the job ends; return the study's own exit code, or 130 after Ctrl-C."""
    from cluster.jobs.follow import exit_code, follow

    begun = ""

    def show(text: str) -> None:
        nonlocal begun
        *lines, begun = (begun + text).split("\n")
        for line in lines:
            show_line(line, to_stderr=to_stderr)

    try:
        ended = follow(head, job.id, show=show, say=lambda line: click.echo(line, err=True))
        if begun:
            show_line(begun, to_stderr=to_stderr)
        return exit_code(ended)
    except KeyboardInterrupt:
        click.echo(
            f"\nno longer following study {job.study}, which goes on; `batchscope logs -f {job.study}` follows it "
            f"again, `batchscope stop {job.study}` saves and stops it",
            err=True,
        )
        return EXIT_INTERRUPTED

"""`batchscope status`: the newest job of each study of a cluster, and how far it has come."""

import sys

import click

from cluster.cli.reaching import cluster_options, format_option, reach, show_jobs


@click.command()
@click.argument("study", required=False)
@cluster_options
@format_option
def command(study: str | None, address: str, token_file: str | None, form: str) -> None:
    """Show the newest job of STUDY, or of each study: its state, and how many of its trials are done."""
    from cluster.jobs.head import UnreachableError
    from cluster.jobs.job import STOPPED, find, newest
    from cluster.report import progress_lines
    from cluster.text.plain import plain
    from cluster.text.wrapped import terminal_width, wrapped

    head = reach(address, token_file)
    jobs = head.jobs()
    shown = list(newest(jobs).values()) if study is None else [find(jobs, study)]
    done = {}
    for job in shown:
        try:
            done[job.id] = progress_lines.last(head.log(job.id).splitlines())
        except UnreachableError:
            # The machine that held the job's driver and log is gone; the cluster still knows its state.
            done[job.id] = None
    if not shown:
        click.echo("no study was submitted to this cluster yet: `batchscope submit STUDY.yaml` submits one", err=True)
    show_jobs(shown, form, done)
    for job in shown:
        if (progress := done[job.id]) and job.state == STOPPED and progress.nothing_left:
            click.echo(
                f"{job.study}: its {progress.asked} trials are all done; this job was stopped with nothing left",
                err=True,
            )
        if (progress := done[job.id]) and (progress.failed or job.active):
            click.echo(wrapped(f"{job.study}: {plain(progress.text)}", terminal_width(sys.stderr)), err=True)

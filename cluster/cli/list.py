"""`batchscope list`: every job of a study that a cluster knows."""

import click

from cluster.cli.reaching import cluster_options, format_option, reach, show_jobs


@click.command("list")
@cluster_options
@format_option
def command(address: str, token_file: str | None, form: str) -> None:
    """List the jobs of all studies on a cluster, the newest first."""
    from cluster.jobs.job import newest_first

    jobs = newest_first(reach(address, token_file).jobs())
    if not jobs:
        click.echo("no study was submitted to this cluster yet: `batchscope submit STUDY.yaml` submits one", err=True)
    show_jobs(jobs, form, {})

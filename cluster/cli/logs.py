"""`batchscope logs`: the log of a study on a cluster, so far or to its end."""

import click

from cluster.cli.reaching import cluster_options, reach


@click.command()
@click.argument("study")
@cluster_options
@click.option("-f", "--follow", is_flag=True, help="Follow it to its end; the exit code is then the study's own.")
def command(study: str, address: str, token_file: str | None, follow: bool) -> int:
    """Print the log of the newest job of STUDY, which may also be a job's id."""
    from cluster.cli.following import follow_to_end, show_line
    from cluster.jobs.job import find

    head = reach(address, token_file)
    job = find(head.jobs(), study)
    if follow:
        return follow_to_end(head, job)
    for line in head.log(job.id).splitlines():
        show_line(line)
    return 0

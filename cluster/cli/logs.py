"""`batchscope logs`: the log of a study on a cluster, so far or to its end."""

import click

from cluster.cli.answering import JSON, put, text_or_json
from cluster.cli.reaching import cluster_options, reach


@click.command()
@click.argument("study")
@cluster_options
@click.option("-f", "--follow", is_flag=True, help="Follow it to its end; the exit code is then the study's own.")
@text_or_json
def command(study: str, address: str, token_file: str | None, follow: bool, form: str) -> int:
    """Print the log of the newest job of STUDY, which may also be a job's id."""
    from cluster.cli.following import follow_to_end, show_line
    from cluster.jobs.job import find
    from trainer.errors import InputError

    if follow and form == JSON:
        raise InputError("--format json is the log so far: leave out -f, or follow it as text")

    head = reach(address, token_file)
    job = find(head.jobs(), study)
    if follow:
        return follow_to_end(head, job)
    lines = head.log(job.id).splitlines()
    if form == JSON:
        put(form, [], study=job.study, job=job.id, lines=lines)
        return 0
    for line in lines:
        show_line(line)
    return 0

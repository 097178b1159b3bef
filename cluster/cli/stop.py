"""`batchscope stop`: saves and stops a study on a cluster."""

import click

from cluster.cli.answering import put, text_or_json
from cluster.cli.reaching import cluster_options, reach


@click.command()
@click.argument("study")
@cluster_options
@text_or_json
def command(study: str, address: str, token_file: str | None, form: str) -> None:
    """Save and stop STUDY, and wait until it has ended; `resume` continues from there."""
    from cluster.jobs.follow import stop
    from cluster.jobs.head import STOP_SECONDS
    from cluster.jobs.job import find
    from cluster.report import progress_lines

    head = reach(address, token_file)
    job = find(head.jobs(), study)
    if not job.active:
        click.echo(f"study {job.study} is not running: its job {job.id} is {job.state}", err=True)
        put(form, [], study=job.study, job=job.id, state=job.state, trials_done=None, trials_asked=None)
        return
    click.echo(f"saving and stopping job {job.id}; it has {STOP_SECONDS} s to save its checkpoints", err=True)
    ended = stop(head, job)
    done = progress_lines.last(head.log(job.id).splitlines())
    count = f"; {done.done} of {done.asked} trials done" if done else ""
    after = f"`batchscope resume {job.study}` continues it"
    if done and done.nothing_left:
        after = "the study is complete, and nothing is left to resume"
    click.echo(f"job {job.id} is {ended.state}{count}; {after}", err=True)
    counts = {"trials_done": done and done.done, "trials_asked": done and done.asked}
    put(form, [], study=job.study, job=job.id, state=ended.state, **counts)

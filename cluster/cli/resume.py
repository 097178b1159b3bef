"""`batchscope resume`: a study that ended on a cluster, submitted again unchanged."""

import click

from cluster.cli.answering import put, text_or_json
from cluster.cli.reaching import cluster_options, reach


@click.command()
@click.argument("study")
@cluster_options
@click.option("--wait", is_flag=True, help="Follow the study to its end; the exit code is then the study's own.")
@click.option("--budget", metavar="B", help="Save and end when this is spent: 50usd, 3h.")
@text_or_json
def command(study: str, address: str, token_file: str | None, wait: bool, budget: str | None, form: str) -> int:
    """Submit STUDY's newest job again, with the spec that the cluster keeps. Finished trials are not repeated.

    Of a study whose job has succeeded nothing is left to do, and it is left as it is.
    """
    from cluster.cli.following import hand_over
    from cluster.jobs.job import SUCCEEDED, find
    from cluster.prices.budget import parse_budget
    from cluster.study.identity import stored
    from trainer.errors import InputError

    if budget is not None:
        parse_budget(budget)
    head = reach(address, token_file)
    job = find(head.jobs(), study)
    if job.state == SUCCEEDED:
        click.echo(
            f"study {job.study} has ended, its job {job.id} {job.state}: nothing is left to resume; "
            f"`batchscope results {job.study}` shows what it found",
            err=True,
        )
        put(form, [], study=job.study, job=job.id, submitted=False, exit_code=job.exit_code)
        return 0
    if job.spec_json is None:
        raise InputError(
            f"the spec of job {job.id} was too long to be kept with it: use `batchscope submit STUDY.yaml` instead"
        )
    spec = stored(job.spec_json, where=f"the spec of job {job.id}")
    return hand_over(head, spec, budget=budget, wait=wait, form=form)

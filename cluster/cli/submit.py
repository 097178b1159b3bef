"""`batchscope submit`: hands a study to a cluster, which runs it without this machine."""

import click

from cluster.cli.answering import text_or_json
from cluster.cli.notifying import notify_option, receiver, with_notice
from cluster.cli.reaching import cluster_options, reach


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
@cluster_options
@click.option("--wait", is_flag=True, help="Follow the study to its end; the exit code is then the study's own.")
@click.option("--budget", metavar="B", help="Save and end when this is spent: 50usd, 3h.")
@notify_option
@text_or_json
def command(
    study_file: str,
    address: str,
    token_file: str | None,
    wait: bool,
    budget: str | None,
    target: str | None,
    form: str,
) -> int:
    """Hand the study to a cluster. stdout is the job's id, or with --wait its log.

    --notify needs --wait: this machine gives the notice, since a cluster shows what its jobs are given.

    A study that is running there is not started twice. A study that ended continues where it was; finished trials are
    not repeated.
    """
    from cluster.cli.following import hand_over
    from cluster.jobs.address import parse_address
    from cluster.jobs.submit import on_cluster
    from cluster.prices.budget import parse_budget
    from cluster.study.spec import load
    from trainer.errors import InputError

    notified = receiver(target, joins_cluster=False)
    if notified is not None and not wait:
        raise InputError(
            f"--notify {notified.shown} needs --wait: this machine gives the notice when the study has ended, since "
            "what a job is given can be read on its cluster"
        )
    spec = on_cluster(load(study_file), parse_address(address))
    if budget is not None:
        parse_budget(budget)
    head = reach(address, token_file)
    return with_notice(notified, spec, lambda: hand_over(head, spec, budget=budget, wait=wait, form=form))

"""`batchscope doctor`: whether this machine, a store and a cluster can do a study's work."""

import click

from trainer.errors import NotReadyError

SCHEMA_VERSION = 1


@click.command()
@click.option("--quick", is_flag=True, help="Only what must hold before a machine takes work: a minute.")
@click.option("--summary", metavar="URI", help="Also try the store of this summary.")
@click.option("--address", metavar="URL", help="Also ask the head of a cluster, by its dashboard.")
@click.option("--token-file", metavar="FILE", help="The file with the cluster's token, to look at its machines too.")
@click.option("--fleet", metavar="FLEET.yaml", help="Also ask AWS for the quotas and the machines of this fleet.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(quick: bool, form: str, **named: str | None) -> int:
    """Look at this machine's card, training, disk and guards, one line a check.

    What cannot be looked at here is `not run`. The exit code is 3 if a check failed.
    """
    import json
    from dataclasses import asdict

    from cluster.doctor.checks import CHECKS
    from cluster.doctor.finding import FAILED, NOT_RUN, PASSED, examined

    checks = [check for check in CHECKS if check.quick or not quick]
    found = []
    for finding in examined(checks, **named):
        found.append(finding)
        if form == "table":
            click.echo(f"{finding.number:2}  {finding.name:13}  {finding.outcome:7}  {finding.text}")
    counts = {outcome: sum(one.outcome == outcome for one in found) for outcome in (PASSED, FAILED, NOT_RUN)}
    if form == "json":
        rows = [asdict(one) for one in found]
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "checks": rows}, indent=1))
    else:
        click.echo(f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[NOT_RUN]} not run")
    return NotReadyError.exit_code if counts[FAILED] else 0

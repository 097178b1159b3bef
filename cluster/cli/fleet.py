"""`batchscope fleet`: the EC2 machines, from nothing to a head that waits for studies and back to nothing."""

import click

from cluster.cli.answering import put, text_or_json


def _say(line: str) -> None:
    click.echo(f"fleet: {line}", err=True)


@click.group("fleet")
def command() -> None:
    """Manage the EC2 machines that FLEET.yaml describes (see deploy/fleet.yaml and deploy/RUNBOOK.md)."""


@command.command("render")
@click.argument("file", metavar="FLEET.yaml", type=click.Path(dir_okay=False))
@click.option("--without-aws", is_flag=True, help="Use placeholders instead of asking the fleet's stack.")
def _render(file: str, without_aws: bool) -> None:
    """Print the configuration for `ray up`."""
    from cluster.fleet import render, spec, stack, types

    fleet = spec.load(file)
    place = spec.placeholders(fleet) if without_aws else stack.read(fleet, types.shapes_of(fleet))
    click.echo(render.render(fleet, place), nl=False)


@command.command("up")
@click.argument("file", metavar="FLEET.yaml", type=click.Path(dir_okay=False))
@text_or_json
def _up(file: str, form: str) -> None:
    """Create the stack and start the head, which starts workers when a study needs them."""
    from cluster.fleet import lifecycle, spec

    fleet = spec.load(file)
    config = lifecycle.up(fleet, say=_say)
    _say(f"{fleet.fleet} is up and needs its token; without a study it ends in {fleet.head_idle_minutes:g} minutes")
    tunnel, token = f"ray dashboard {config}", str(fleet.folder / "token")
    submit = f"batchscope submit STUDY.yaml --address http://127.0.0.1:8265 --token-file {token}"
    put(
        form,
        [f"{tunnel}    # a tunnel: leave it open", submit],
        fleet=fleet.fleet,
        tunnel=tunnel,
        submit=submit,
        token_file=token,
    )


@command.command("down")
@click.argument("file", metavar="FLEET.yaml", type=click.Path(dir_okay=False))
@click.option("--delete-stack", is_flag=True, help="Also delete the network, roles, keys and the (empty) bucket.")
@text_or_json
def _down(file: str, delete_stack: bool, form: str) -> None:
    """Terminate all machines of the fleet, and print what is left."""
    from cluster.fleet import lifecycle, spec

    fleet = spec.load(file)
    left = lifecycle.down(fleet, delete_stack=delete_stack, say=_say)
    _say("no machine is left")
    put(form, [f"left: {one}" for one in left], fleet=fleet.fleet, left=left)


@command.command("status")
@click.argument("file", metavar="FLEET.yaml", type=click.Path(dir_okay=False))
@click.option("--address", metavar="URL", help="The tunnel to the head: also show what each machine is doing.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def _status(file: str, address: str | None, form: str) -> None:
    """Print the machines of the fleet and what they cost an hour."""
    from cluster.fleet import machines, spec, status
    from cluster.fleet.turned_away import turned_away

    fleet = spec.load(file)
    found = status.priced(machines.alive(fleet.fleet, fleet.region), fleet.region)
    if address is not None:
        token = fleet.folder / "token"
        found = status.with_use(found, address, token.read_text().strip() if token.exists() else "")
    away = turned_away(fleet)
    click.echo(status.to_json(fleet.fleet, found, away) if form == "json" else status.to_text(found, away), nl=False)

"""Bringing a fleet up and taking it down; a failure on the way up leaves no machine behind."""

import shutil
from collections.abc import Callable
from pathlib import Path

from cluster.fleet import aws, machines, node, ray_up, stack, tokens
from cluster.fleet.authentication import require_authentication
from cluster.fleet.machines import Machine
from cluster.fleet.render import BASE_LOCK, CUDA_LOCK, render
from cluster.fleet.spec import FleetSpec
from cluster.fleet.types import shapes_of
from trainer.errors import InputError, NotReadyError

Say = Callable[[str], None]


def up(spec: FleetSpec, *, say: Say) -> Path:
    """Bring up the stack and the head; return the file of the rendered configuration.

    If the fleet is already up, only its head is asked whether it wants the token: another `ray up` would restart Ray.

    Raises:
        InputError: the fleet is up with other settings, or a type of its machines cannot train.
        NotReadyError: a program, a permission or a machine is missing, or the head lets anyone in; no machine is left.
    """
    ray_up.require_tools(spec)
    shapes = shapes_of(spec)
    tokens.ensure(spec.fleet)
    stack.ensure(spec, say=say)
    head = _head(machines.alive(spec.fleet, spec.region))
    text = render(spec, stack.read(spec, shapes, image_id=head.image_id if head else None))
    file = spec.folder / "cluster.yaml"
    if head is None:
        file.write_text(text, encoding="utf-8")
        say(f"starting the head ({spec.head_type}); this takes some minutes")
    elif not file.exists() or file.read_text(encoding="utf-8") != text:
        raise InputError(
            f"the fleet {spec.fleet} is up ({head.instance_id}) with other settings, or was started elsewhere: "
            "`batchscope fleet down` first, or put the settings back"
        )
    try:
        if head is None:
            _write_provider(spec)
            ray_up.up(file)
        say("asking the head without a token: it must refuse")
        with ray_up.tunnel(file) as address:
            require_authentication(address)
    except BaseException:
        if head is None:
            say("that failed: taking the machines down again")
            _end_all(spec, say)
        raise
    return file


def down(spec: FleetSpec, *, delete_stack: bool, say: Say) -> list[str]:
    """Take all machines down, and with `delete_stack` everything else; return what is left, in words.

    Raises:
        InputError: the bucket is not empty, so the stack cannot be deleted.
        NotReadyError: AWS refused, or a machine did not end.
    """
    file = spec.folder / "cluster.yaml"
    if file.exists() and _head(machines.alive(spec.fleet, spec.region)):
        try:
            ray_up.down(file)
        except NotReadyError as problem:
            say(f"{problem}; ending the machines without it")
    _end_all(spec, say)
    tokens.forget(spec.fleet)
    if delete_stack:
        say(f"deleting the stack {spec.stack}")
        stack.delete(spec.stack, spec.region)
        _delete_keys(spec)
        file.unlink(missing_ok=True)
        return []
    found = stack.outputs(spec.stack, spec.region)
    if found is None:
        return []
    return [
        f"stack {spec.stack} (costs nothing by itself)",
        f"bucket s3://{found.get('Bucket', '?')} (costs by the GB)",
    ]


def _write_provider(spec: FleetSpec) -> None:
    """Put what the machines import of ours where `ray up` takes it from (`render.PROVIDER_ON_NODES`)."""
    here, there = Path(node.__file__).parent, spec.folder / "provider" / "cluster" / "fleet" / "node"
    there.mkdir(parents=True, exist_ok=True)
    for name in ("offers.py", "probe.py", "provider.py", "ready.py", "wheels.py"):
        shutil.copyfile(here / name, there / name)
    for name in (BASE_LOCK, CUDA_LOCK):
        shutil.copyfile(here.parent / "locks" / name, spec.folder / "provider" / name)


def _head(fleet: list[Machine]) -> Machine | None:
    heads = (machine for machine in fleet if machine.role == "head")
    return next((head for head in heads if head.state in ("pending", "running")), None)


def _end_all(spec: FleetSpec, say: Say) -> None:
    left = machines.alive(spec.fleet, spec.region)
    # The head first, because its autoscaler must not start another worker.
    machines.terminate([machine for machine in left if machine.role == "head"], spec.region)
    machines.terminate([machine for machine in left if machine.role != "head"], spec.region)
    machines.wait_until_none(spec.fleet, spec.region, say=say)


def _delete_keys(spec: FleetSpec) -> None:
    """Delete the key pair that Ray made for the fleet (ray/autoscaler/_private/aws/config.py, key_pair)."""
    client = aws.client("ec2", spec.region)
    aws.ask("ec2:DeleteKeyPair", lambda: client.delete_key_pair(KeyName=spec.stack))
    Path(f"~/.ssh/{spec.stack}.pem").expanduser().unlink(missing_ok=True)

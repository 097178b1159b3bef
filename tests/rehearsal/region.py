"""The pretend region: moto's EC2, S3, IAM, CloudFormation and SSM, whose instances are machines that boot and end.

Moto keeps the account's books; what stands here makes its instances real, refuses offers on demand with EC2's own
codes, and notes when each machine began and ended, for the bill.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.request import Request, urlopen

from cluster.fleet.stack import IMAGE_PARAMETER
from cluster.prices.price import pinned
from tests.rehearsal import machines, network
from tests.rehearsal.doors import Doors
from tests.rehearsal.machines import Machine

REGION, ACCOUNT = "us-east-1", "123456789012"
IMAGE = "ami-12c6146b"  # one that moto knows
PORT = 5000
SHARE_OF_SPOT = 0.4
# Why an offer (type, market, zone) is refused now; None if it is not.
Refuses = Callable[[str, str, str], str | None]


class Region:
    """One region of one account; `folder` is on a file system of its own, in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = f"http://{network.ADDRESS}:{PORT}"
        self.machines: dict[str, Machine] = {}
        self.doors = Doors()
        self.seconds_of_credentials = 6 * 3600.0
        self.without_cards = False
        self.refuses: Refuses = lambda *_: None
        self.refused: list[tuple[float, str, str, str, str]] = []
        self.asked: list[tuple[float, str, str, str]] = []
        self._lock = threading.RLock()

    def alive(self, role: str | None = None) -> list[Machine]:
        """The machines that have not ended, in the order of their start."""
        return [one for one in self.machines.values() if one.ended is None and role in (None, one.role)]

    def left(self) -> list[str]:
        """What of the account's books is still there: instances that bill, volumes, keys, stacks and buckets."""
        from moto.cloudformation.models import cloudformation_backends
        from moto.ec2.models import ec2_backends
        from moto.s3.models import s3_backends

        ec2, stacks = ec2_backends[ACCOUNT][REGION], cloudformation_backends[ACCOUNT][REGION].stacks
        alive = [one.id for one in ec2.all_instances() if one.state not in ("terminated", "shutting-down")]
        buckets = list(s3_backends[ACCOUNT]["aws"].buckets)
        return [*alive, *ec2.volumes, *ec2.key_pairs, *(one.name for one in stacks.values()), *buckets]

    def run_instances(self, original: Callable[..., Any], backend: Any, *given: Any, **named: Any) -> Any:
        """Refuse, or note the instances in moto's books and boot them."""
        from moto.ec2.exceptions import EC2ClientError

        instance_type, zone = named["instance_type"], backend.get_subnet(named["subnet_id"]).availability_zone
        market = "spot" if named.get("instance_market_options") else "on-demand"
        with self._lock:
            self.asked.append((time.time(), instance_type, market, zone))
            if code := self.refuses(instance_type, market, zone):
                self.refused.append((time.time(), instance_type, market, zone, code))
                raise EC2ClientError(code, f"pretend: no {instance_type} on the {market} market in {zone}")
            reservation = original(backend, *given, **named)
            for instance in reservation.instances:
                self._boot(instance, market, zone)
            return reservation

    def terminate_instances(self, original: Callable[..., Any], backend: Any, instance_ids: list[str]) -> Any:
        """End machines, and have moto note it."""
        with self._lock:
            for one in instance_ids:
                if one in self.machines:
                    self._end(self.machines[one])
            return original(backend, instance_ids)

    def create_tags(
        self, original: Callable[..., Any], backend: Any, resource_ids: list[str], tags: dict[str, str]
    ) -> Any:
        """Show machines the tags that moto notes of them."""
        with self._lock:
            for one in resource_ids:
                if one in self.machines:
                    self.machines[one].tag(tags)
            return original(backend, resource_ids, tags)

    def _boot(self, instance: Any, market: str, zone: str) -> None:
        folder = self._folder / instance.id
        folder.mkdir()
        identity = {
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "lifeCycle": market,
            "privateIp": instance.private_ip,
            "availabilityZone": zone,
            "region": REGION,
            "accountId": ACCOUNT,
            "architecture": "x86_64",
        }
        key = instance.ec2_backend.key_pairs[instance.key_name]
        # The kernel takes a while to remove the cable of a machine that ended, so no name comes twice.
        cable, began = f"m-{instance.id[-12:]}", time.time()
        process = machines.boot(
            folder,
            seconds_of_credentials=self.seconds_of_credentials,
            cards=not self.without_cards,
            identity=identity,
            user_data=instance.user_data.decode(),
            public_key=key.material_public.decode(),
            server=self.server,
            cable=cable,
        )
        self.machines[instance.id] = machine = Machine(
            instance_id=instance.id,
            address=instance.private_ip,
            instance_type=instance.instance_type,
            market=market,
            zone=zone,
            folder=folder,
            began=began,
            process=process,
            cable=cable,
        )
        machine.tag({tag["key"]: tag["value"] for tag in instance.get_tags()})
        threading.Thread(target=self._watch, args=(machine, instance), daemon=True).start()

    def _watch(self, machine: Machine, instance: Any) -> None:
        """A machine that ends by itself is terminated, as its instances are asked to be (the fleet's node_config)."""
        machine.process.wait()
        with self._lock:
            if machine.ended is None:
                machine.ended = time.time()
                instance.ec2_backend.terminate_instances([machine.instance_id])

    def _end(self, machine: Machine) -> None:
        if machine.ended is None:
            machine.ended = time.time()
            machine.process.kill()
            machine.process.wait()

    def end_all(self) -> None:
        """End every machine."""
        with self._lock:
            for machine in self.alive():
                self._end(machine)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Region]:
    """The region as long as the block lasts, in a network namespace of our own."""
    from moto.ec2.models.instances import InstanceBackend
    from moto.ec2.models.route_tables import RouteTable
    from moto.ec2.models.tags import TagBackend
    from moto.ec2.responses.spot_instances import SpotInstances
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from moto.server import ThreadedMotoServer

    network.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key"))
    region = Region(folder)
    # A line for each request, and the price list that moto has not: batchscope takes its own then.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    enter, history = DomainDispatcherApplication.__call__, SpotInstances.describe_spot_price_history
    run, terminate = InstanceBackend.run_instances, InstanceBackend.terminate_instances
    tag = TagBackend.create_tags
    server = ThreadedMotoServer(ip_address=network.ADDRESS, port=PORT, verbose=False)
    with (
        mock.patch.dict(os.environ, MOTO_EC2_LOAD_DEFAULT_AMIS="true"),
        mock.patch.object(
            InstanceBackend, "run_instances", lambda *given, **named: region.run_instances(run, *given, **named)
        ),
        mock.patch.object(
            InstanceBackend, "terminate_instances", lambda *given: region.terminate_instances(terminate, *given)
        ),
        mock.patch.object(TagBackend, "create_tags", lambda *given: region.create_tags(tag, *given)),
        mock.patch.object(
            DomainDispatcherApplication, "__call__", lambda *given: region.doors.pass_through(enter, *given)
        ),
        mock.patch.object(
            SpotInstances, "describe_spot_price_history", lambda response: _with_prices(history(response))
        ),
        mock.patch.object(RouteTable, "delete", _delete_table, create=True),
        mock.patch("moto.ssm.models.SimpleSystemManagerBackend.get_parameter", _parameter),
    ):
        server.start()
        urlopen(Request(f"{region.server}/moto-api/reset", method="POST"), timeout=10).close()
        try:
            yield region
        finally:
            region.end_all()
            server.stop()


def _with_prices(answer: Any) -> Any:
    """Spot prices at SHARE_OF_SPOT of those on demand, where moto has one next to nothing for all types."""
    for one in answer.result["SpotPriceHistory"]:
        usd = pinned(one["InstanceType"], market="on-demand", region=REGION).usd_per_hour
        one["SpotPrice"] = f"{SHARE_OF_SPOT * (usd or 1.0):.6f}"
    return answer


def _delete_table(table: Any, *_: str) -> None:
    """What CloudFormation does with a route table, and moto's cannot: with its associations it goes."""
    table._associations.clear()
    table.ec2_backend.route_tables.pop(table.id, None)


def _parameter(backend: Any, name: str) -> Any:
    """The one public parameter that a fleet asks for: the id of its image."""
    from moto.ssm import models

    parameter: Any = models.Parameter
    assert name == IMAGE_PARAMETER, name
    return parameter(
        account_id=ACCOUNT,
        name=name,
        value=IMAGE,
        parameter_type="String",
        description="",
        allowed_pattern=None,
        keyid=None,
        last_modified_date=datetime.now(UTC),
        version=1,
        data_type="text",
    )

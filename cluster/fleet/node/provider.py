"""Ray's node provider for EC2, which asks for the next offer where EC2 refuses one (`cluster.fleet.node.offers`).

Ray's autoscaler by itself asks for the type of the highest priority again every few seconds, for ever: what EC2 refuses
becomes ALLOCATION_FAILED (ray/autoscaler/v2/instance_manager/node_provider.py), while its monitor of what is available
listens only to ALLOCATION_TIMEOUT (subscribers/cloud_resource_monitor.py; ray#20774, ray#58623).

`ray up` loads it on the laptop, where it starts the head, and the autoscaler on the head, where batchscope itself is
not installed: it imports nothing of batchscope but its rules.
"""

import logging
import threading
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider, to_aws_format
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

from cluster.fleet.node import offers
from cluster.fleet.node.offers import Offer, Refusal

SECONDS_OF_A_PRICE = 600.0
_SPOT = {
    "MarketType": "spot",
    "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
}
logger = logging.getLogger(__name__)


class OffersProvider(AWSNodeProvider):
    """Starts a machine of a Ray node type from any of its offers.

    `provider.offers` in the cluster's configuration has the instance types of each node type, the preferred one first;
    `provider.spot` says whether their spot market is asked before on-demand.
    """

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)  # type: ignore[no-untyped-call]
        self._refused: dict[Offer, Refusal] = {}
        self._prices: dict[tuple[str, str], float] = {}
        self._priced_at = float("-inf")
        # The autoscaler starts machines from several threads.
        self._asking = threading.Lock()

    def _create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Start `count` machines; AWSNodeProvider calls it, and lists the machines by what it returns.

        Raises:
            NodeLaunchException: fewer could be started. Ray finds those that were by their tags, and asks again.
        """
        types = self.provider_config["offers"].get(tags.get(TAG_RAY_USER_NODE_TYPE))
        if types is None:
            head: dict[str, Any] = super()._create_node(node_config, tags, count)  # type: ignore[no-untyped-call]
            return head
        with self._asking:
            return self._start(node_config, tags, count, types)

    def _start(self, node_config: dict[str, Any], tags: dict[str, str], count: int, types: list[str]) -> dict[str, Any]:
        subnets = node_config["SubnetIds"]
        wanted = offers.in_order(
            types,
            spot=self.provider_config["spot"],
            subnets=subnets,
            prices=self._spot_prices(types, subnets),
            together=[self.cached_nodes[name].subnet_id for name in self._known("worker") if name in self.cached_nodes],
        )
        started: dict[str, Any] = {}
        while len(started) < count and (left := offers.open_ones(wanted, self._refused, time.monotonic())):
            try:
                started |= self._start_offer(left[0], node_config, tags, count - len(started))
            except ClientError as problem:
                code = problem.response["Error"]["Code"]
                if code not in offers.NO_CAPACITY | offers.OVER_QUOTA:
                    raise NodeLaunchException(code, str(problem), None) from problem
                logger.warning("EC2 refuses %s: %s", left[0], code)
                closed = offers.closed_by(left[0], code, wanted)
                self._refused |= dict.fromkeys(closed, Refusal(code, time.monotonic()))
        self._tell_of_refusals(started)
        if len(started) < count:
            words = offers.in_words(self._refused, time.monotonic(), most=2000)
            raise NodeLaunchException("NoOfferLeft", f"started {len(started)} of {count}; refused: {words}", None)
        return started

    def _start_offer(
        self, offer: Offer, node_config: dict[str, Any], tags: dict[str, str], count: int
    ) -> dict[str, Any]:
        """Start at least one and at most `count` machines of an offer, as many as EC2 has."""
        aws_tags = {TAG_RAY_CLUSTER_NAME: self.cluster_name, **to_aws_format(dict(tags))}
        specs = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": aws_tags[key]} for key in aws_tags]}]
        self._merge_tag_specs(specs, node_config.get("TagSpecifications", []))
        request = {key: value for key, value in node_config.items() if key != "SubnetIds"}
        request |= {"InstanceType": offer.instance_type, "SubnetId": offer.subnet, "TagSpecifications": specs}
        market = {"InstanceMarketOptions": _SPOT} if offer.market == "spot" else {}
        made = self.ec2_fail_fast.create_instances(MinCount=1, MaxCount=count, **request, **market)
        return {instance.id: instance for instance in made}

    def _tell_of_refusals(self, started: dict[str, Any]) -> None:
        """Leave what was refused on the machines that came instead, or on the head if none came."""
        words = offers.in_words(self._refused, time.monotonic())
        machines = list(started) or self._known("head")
        if not words or not machines:
            return
        try:
            tags = [{"Key": offers.TAG_REFUSED, "Value": words}]
            self.ec2.meta.client.create_tags(Resources=machines, Tags=tags)
        except (ClientError, BotoCoreError) as problem:
            logger.warning("what was refused could not be noted: %s", problem)

    def _known(self, kind: str) -> list[str]:
        """The machines of a kind that Ray's last look found; no look of our own, which would replace its cache."""
        return [name for name, tags in list(self.tag_cache.items()) if tags.get(TAG_RAY_NODE_KIND) == kind]

    def _spot_prices(self, types: list[str], subnets: list[str]) -> dict[tuple[str, str], float]:
        """USD an hour by type and subnet, at most SECONDS_OF_A_PRICE old; without an answer the last ones."""
        if not self.provider_config["spot"] or time.monotonic() - self._priced_at < SECONDS_OF_A_PRICE:
            return self._prices
        self._priced_at = time.monotonic()
        client = self.ec2.meta.client
        try:
            found = client.describe_subnets(SubnetIds=subnets)["Subnets"]
            zones = {one["SubnetId"]: one["AvailabilityZone"] for one in found}
            answer = client.describe_spot_price_history(
                InstanceTypes=types, ProductDescriptions=["Linux/UNIX"], StartTime=time.time()
            )
            by_zone = {
                (one["InstanceType"], one["AvailabilityZone"]): float(one["SpotPrice"])
                for one in answer["SpotPriceHistory"]
            }
            self._prices = {
                (name, subnet): by_zone[name, zone]
                for name in types
                for subnet, zone in zones.items()
                if (name, zone) in by_zone
            }
        except (ClientError, BotoCoreError) as problem:
            logger.warning("no spot prices: %s", problem)
        return self._prices

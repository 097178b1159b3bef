"""Current prices from AWS: the Pricing API for on-demand, EC2's spot price history for spot.

Each function returns None if AWS has no such price, and passes on everything that boto3 raises.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

# The Pricing API is only in a few regions, each of which has the prices of all regions.
_PRICING_REGION = "us-east-1"
# The filters of Karpenter's price list (aws/karpenter-provider-aws, pkg/providers/pricing/pricing.go), which leave one
# of the hundreds of products of an instance type (operating systems, licences, reserved capacity).
_PLAIN_LINUX = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


def on_demand(instance_type: str, region: str) -> float | None:
    """USD per hour from the Pricing API (permission `pricing:GetProducts`)."""
    wanted = {"instanceType": instance_type, "regionCode": region, **_PLAIN_LINUX}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    answer = _client("pricing", _PRICING_REGION).get_products(
        ServiceCode="AmazonEC2", FormatVersion="aws_v1", Filters=filters
    )
    return on_demand_usd(answer["PriceList"])


def spot(instance_type: str, region: str) -> float | None:
    """USD per hour, the mean over the region's zones (permission `ec2:DescribeSpotPriceHistory`)."""
    pages = _client("ec2", region).get_paginator("describe_spot_price_history")
    # Starting now, the history has the prices in force now, one for each zone.
    history = pages.paginate(
        InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(UTC)
    )
    return spot_usd((entry for page in history for entry in page["SpotPriceHistory"]), region)


def on_demand_usd(products: Iterable[str]) -> float | None:
    """USD per hour in a `PriceList` of JSON documents; the highest, if there are several.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: the list is not in the form that AWS documents.
    """
    prices = [
        float(dimension["pricePerUnit"]["USD"])
        for product in map(json.loads, products)
        for term in product["terms"]["OnDemand"].values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] == "Hrs" and "USD" in dimension["pricePerUnit"]
    ]
    # Zero means hours that are paid in another way, such as by a reservation.
    return max((usd for usd in prices if usd > 0), default=None)


def spot_usd(history: Iterable[Mapping[str, Any]], region: str) -> float | None:
    """USD per hour, the mean over zones of each zone's newest price.

    Local zones (`us-west-2-lax-1a`) do not count: nothing is started there, and their prices differ.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: the history is not in the form that AWS documents.
    """
    newest: dict[str, tuple[datetime, float]] = {}
    for entry in history:
        zone, price = entry["AvailabilityZone"], (entry["Timestamp"], float(entry["SpotPrice"]))
        if re.fullmatch(f"{re.escape(region)}[a-z]", zone):
            newest[zone] = max(newest.get(zone, price), price)
    return sum(usd for _, usd in newest.values()) / len(newest) if newest else None


def _client(service: str, region: str) -> Any:
    from boto3.session import Session
    from botocore.config import Config

    return Session().client(
        service,
        region_name=region,
        config=Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=5),
    )

"""Prices as AWS tells them now: the Pricing API for on-demand, EC2's spot price history for spot.

Each returns None when AWS has no such price, and lets everything through that boto3 raises.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

# The Pricing API is only in a few regions; each tells the prices of all.
_PRICING_REGION = "us-east-1"
# One product is left of the hundreds of an instance type (operating systems, licences, reserved capacity): the
# filters of Karpenter's price list (aws/karpenter-provider-aws, pkg/providers/pricing/pricing.go).
_PLAIN_LINUX = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


def on_demand(instance_type: str, region: str) -> float | None:
    """USD per hour by the Pricing API (permission `pricing:GetProducts`)."""
    wanted = {"instanceType": instance_type, "regionCode": region, **_PLAIN_LINUX}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    answer = _client("pricing", _PRICING_REGION).get_products(
        ServiceCode="AmazonEC2", FormatVersion="aws_v1", Filters=filters
    )
    return on_demand_usd(answer["PriceList"])


def spot(instance_type: str, region: str) -> float | None:
    """USD per hour, the mean over the region's zones (permission `ec2:DescribeSpotPriceHistory`)."""
    pages = _client("ec2", region).get_paginator("describe_spot_price_history")
    # From now on: the prices that hold now, one for each zone.
    history = pages.paginate(
        InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(UTC)
    )
    return spot_usd((entry for page in history for entry in page["SpotPriceHistory"]), region)


def on_demand_usd(products: Iterable[str]) -> float | None:
    """USD per hour in a `PriceList`: documents in JSON. The highest, should there be several.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is not in the form that AWS documents.
    """
    prices = [
        float(dimension["pricePerUnit"]["USD"])
        for product in map(json.loads, products)
        for term in product["terms"]["OnDemand"].values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] == "Hrs" and "USD" in dimension["pricePerUnit"]
    ]
    # Zero stands for hours paid otherwise, such as those of a reservation.
    return max((usd for usd in prices if usd > 0), default=None)


def spot_usd(history: Iterable[Mapping[str, Any]], region: str) -> float | None:
    """USD per hour, the mean over zones of each zone's newest price.

    Local zones (`us-west-2-lax-1a`) do not count: nothing is started there, and their prices are others.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is not in the form that AWS documents.
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

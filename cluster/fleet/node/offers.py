"""Which machine to ask EC2 for next: pure rules over offers, their prices, and what was refused a moment ago.

An offer is a type of machine on a market in a zone, each with machines of its own. EC2 refuses an offer that it has
none of (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html), and the next one may have some.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# It has none there now.
NO_CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientFreeAddressesInSubnet",
        "SpotMaxPriceTooLow",
        "Unsupported",
    }
)
# The account may have no more on this market, in whichever zone.
OVER_QUOTA = frozenset({"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded"})
# As Karpenter: https://karpenter.sh/docs/troubleshooting/ ("ice cache").
SECONDS_REFUSED = 180.0
# On a worker: what EC2 had refused when it was started in its place. On the head: what it refused last.
TAG_REFUSED = "batchscope-refused"


@dataclass(frozen=True, order=True)
class Offer:
    """A type of machine on a market, `spot` or `on-demand`, in a subnet, which stands for its zone."""

    instance_type: str
    market: str
    subnet: str


@dataclass(frozen=True)
class Refusal:
    """EC2's code for why it refused, and when, in seconds of any clock that only goes forward."""

    code: str
    at: float


def in_order(
    types: Sequence[str],
    *,
    spot: bool,
    subnets: Sequence[str],
    prices: Mapping[tuple[str, str], float],
    together: Sequence[str] = (),
) -> list[Offer]:
    """All offers, the best one first: spot before on-demand, then the types as listed, then their zones.

    The list of types is the owner's own order: half the price for half the speed is no gain. Of the zones, those in
    `together` come first, because traffic between zones is billed and a lane of several workers sums its gradients
    through it; then the cheapest, by `prices`: USD an hour on the spot market by type and subnet.
    """

    def place(item: tuple[str, int, str]) -> tuple[bool, int, bool, float, int]:
        market, rank, subnet = item
        price = prices.get((types[rank], subnet), float("inf")) if market == "spot" else 0.0
        return market != "spot", rank, subnet not in together, price, subnets.index(subnet)

    markets = ("spot", "on-demand") if spot else ("on-demand",)
    items = [(market, rank, subnet) for market in markets for rank in range(len(types)) for subnet in subnets]
    return [Offer(types[rank], market, subnet) for market, rank, subnet in sorted(items, key=place)]


def open_ones(offers: Sequence[Offer], refused: Mapping[Offer, Refusal], now: float) -> list[Offer]:
    """The offers that were not refused within the last SECONDS_REFUSED."""
    return [offer for offer in offers if offer not in refused or now - refused[offer].at >= SECONDS_REFUSED]


def closed_by(offer: Offer, code: str, offers: Sequence[Offer]) -> list[Offer]:
    """The offers that a refusal of `offer` closes: itself, and beyond a quota its type on that market in all zones."""
    if code not in OVER_QUOTA:
        return [offer]
    return [one for one in offers if (one.instance_type, one.market) == (offer.instance_type, offer.market)]


def in_words(refused: Mapping[Offer, Refusal], now: float, *, most: int = 256) -> str:
    """What was refused within the last SECONDS_REFUSED and why, in at most `most` characters (those of a tag)."""
    found: dict[tuple[str, str, str], int] = {}
    for offer, refusal in refused.items():
        if now - refusal.at < SECONDS_REFUSED:
            key = (offer.instance_type, offer.market, refusal.code)
            found[key] = found.get(key, 0) + 1
    words = [
        f"{instance_type} {market} in {zones} zone{'s' * (zones > 1)}: {code}"
        for (instance_type, market, code), zones in found.items()
    ]
    text = "; ".join(words)
    return text if len(text) <= most else text[: most - 3] + "..."

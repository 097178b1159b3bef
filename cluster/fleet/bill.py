"""The bill of a fleet over a time: each machine's life at its price, with its disk and its address. Pure.

The ledger of attempts counts the shares of machines that trained. What it leaves out is billed as well: the head, boots
and installations, idle minutes before a machine goes, the rest of a card that no lane has, disks and addresses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

# General purpose SSD (gp3) in us-east-1, https://aws.amazon.com/ebs/pricing: elsewhere up to a third more.
USD_A_GB_MONTH = 0.08
# A public IPv4 address, in every region: https://aws.amazon.com/vpc/pricing.
USD_AN_ADDRESS_HOUR = 0.005
HOURS_A_MONTH = 730.0
SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True)
class Life:
    """A machine's life in Unix seconds; `until` is None while it lives. `usd_per_hour` is None if it is unknown."""

    usd_per_hour: float | None
    since: float
    until: float | None = None


def after_look(lives: Mapping[str, Life], alive: Mapping[str, Life], *, last: float, now: float) -> dict[str, Life]:
    """The lives, by instance id, after a look at `now` that found `alive`.

    Whoever is gone since the look before, at `last`, is taken to have ended in the middle between the two.
    """
    ended = (last + now) / 2
    gone = {name: replace(life, until=life.until or ended) for name, life in lives.items() if name not in alive}
    return {**alive, **{name: lives[name] for name in alive if name in lives}, **gone}


def usd(lives: Iterable[Life], *, since: float, now: float, disk_gb: float) -> float | None:
    """What the machines cost from `since` to `now`; None if the price of one that lived then is unknown."""
    total, beside = 0.0, disk_gb * USD_A_GB_MONTH / HOURS_A_MONTH + USD_AN_ADDRESS_HOUR
    for life in lives:
        seconds = min(life.until or now, now) - max(life.since, since)
        if seconds <= 0:
            continue
        if life.usd_per_hour is None:
            return None
        total += seconds / SECONDS_AN_HOUR * (life.usd_per_hour + beside)
    return total

"""What a machine costs an hour, from AWS or from the pinned table, and which of the two."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files

from cluster.prices import live
from cluster.process.deadline import within

DEADLINE_SECONDS = 10.0
_ASK = {"on-demand": (live.on_demand, "Pricing API"), "spot": (live.spot, "EC2 spot price history")}
# The line in the head of the pinned table, `on_demand.csv`, that has its date.
_DATE = "# as_of: "
_COLUMNS = {"on-demand": "on_demand_usd_per_hour", "spot": "spot_usd_per_hour"}


@dataclass(frozen=True)
class Price:
    """USD for one hour of a Linux machine; None where it is not known.

    `source` is `Pricing API`, `EC2 spot price history`, `pinned table`, `unknown` or `not on EC2`; `as_of` is the
    price's date (`2026-11-24`, or only the month) and is empty without a price.
    """

    usd_per_hour: float | None
    source: str
    as_of: str


UNKNOWN = Price(None, "unknown", "")
NOT_ON_EC2 = Price(None, "not on EC2", "")


def hourly(instance_type: str, *, market: str, region: str) -> Price:
    """The price of an hour of `instance_type` in `region`; `market` is `on-demand` or `spot`.

    AWS is asked first. If AWS cannot be asked (no credentials, no permission, no network, no answer within
    `DEADLINE_SECONDS` for the whole call) or has no price, the pinned table is used, which `source` shows. A machine in
    neither has no price, and neither does `local`, which is not on EC2. This never raises for lack of a price, and
    returns the same for the rest of the process.
    """
    if market == "local":
        return NOT_ON_EC2
    if market not in _ASK:
        return UNKNOWN  # capacity blocks and scheduled instances are paid in advance
    return _hourly(instance_type, market, region)


def cost_usd(price: Price, *, seconds: float, share: float = 1.0) -> float | None:
    """USD for `seconds` of the part `share` (0 to 1) of a machine at `price`; None without a price."""
    return None if price.usd_per_hour is None else price.usd_per_hour * seconds / 3600 * share


@lru_cache(maxsize=256)
def _hourly(instance_type: str, market: str, region: str) -> Price:
    ask, source = _ASK[market]
    usd_per_hour = _asked(lambda: ask(instance_type, region))
    if usd_per_hour is not None:
        return Price(usd_per_hour, source, datetime.now(UTC).date().isoformat())
    return pinned(instance_type, market=market, region=region)


def _asked(ask: Callable[[], float | None]) -> float | None:
    """USD per hour from AWS; None if AWS cannot be asked, or answers in a form that it does not document."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    # OSError includes the deadline's TimeoutError. Another form comes from another server behind AWS_ENDPOINT_URL, such
    # as one that only serves S3.
    other_form = (LookupError, TypeError, ValueError, AttributeError)
    try:
        return within(DEADLINE_SECONDS, ask)
    except (BotoCoreError, ClientError, ResponseParserError, OSError, *other_form):
        return None


def pinned(instance_type: str, *, market: str, region: str) -> Price:
    """The price in the pinned table; `unknown` if the table has none."""
    as_of, rows = _table()
    usd_per_hour = rows.get((instance_type, region, market))
    return UNKNOWN if usd_per_hour is None else Price(usd_per_hour, "pinned table", as_of)


@lru_cache(maxsize=1)
def _table() -> tuple[str, dict[tuple[str, str, str], float]]:
    """The date of the prices, and USD per hour by machine, region and market."""
    lines = files(__package__).joinpath("on_demand.csv").read_text().splitlines()
    (as_of,) = (line.removeprefix(_DATE) for line in lines if line.startswith(_DATE))
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return as_of, {
        (row["instance_type"], row["region"], market): float(row[column])
        for row in rows
        for market, column in _COLUMNS.items()
        if row[column]
    }

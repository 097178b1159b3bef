"""The pinned table of prices, for when AWS cannot be asked: `on_demand.csv`, dated in its head."""

import csv
from functools import lru_cache
from importlib.resources import files

from cluster.prices.price import UNKNOWN, Price

SOURCE = "pinned table"
_DATE = "# as_of: "
_COLUMNS = {"on-demand": "on_demand_usd_per_hour", "spot": "spot_usd_per_hour"}


def pinned(instance_type: str, *, market: str, region: str) -> Price:
    """The table's price; `unknown` when it has none."""
    as_of, rows = _table()
    usd_per_hour = rows.get((instance_type, region, market))
    return UNKNOWN if usd_per_hour is None else Price(usd_per_hour, SOURCE, as_of)


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

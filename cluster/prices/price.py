"""The price of one hour of a machine, with where it comes from and of when it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    """USD for one hour of a Linux machine; None where it is not known.

    `source` is `Pricing API`, `EC2 spot price history`, `pinned table`, `unknown` or `not on EC2`; `as_of` is the
    price's date (`2026-11-24`, or only the month), empty without a price.
    """

    usd_per_hour: float | None
    source: str
    as_of: str


UNKNOWN = Price(None, "unknown", "")
NOT_ON_EC2 = Price(None, "not on EC2", "")

"""What a machine costs by the hour: asked of AWS, or read from the pinned table, and marked which."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from cluster.prices import live, table
from cluster.prices.deadline import before
from cluster.prices.price import NOT_ON_EC2, UNKNOWN, Price

DEADLINE_SECONDS = 10.0
_ASK = {"on-demand": (live.on_demand, "Pricing API"), "spot": (live.spot, "EC2 spot price history")}


def hourly(instance_type: str, *, market: str, region: str) -> Price:
    """The price of an hour of `instance_type` in `region`; `market` is `on-demand` or `spot`.

    AWS is asked first. If it cannot be (no credentials, no permission, no network, no answer within
    `DEADLINE_SECONDS` for the whole call) or knows no price, the pinned table answers and `source` says so. A machine
    that neither knows has no price, nor has `local`, which is not on EC2. Never raises for want of a price, and
    answers the same for the rest of the process.
    """
    if market == "local":
        return NOT_ON_EC2
    if market not in _ASK:
        return UNKNOWN  # capacity blocks and scheduled instances are paid beforehand
    return _hourly(instance_type, market, region)


@lru_cache(maxsize=256)
def _hourly(instance_type: str, market: str, region: str) -> Price:
    ask, source = _ASK[market]
    usd_per_hour = _asked(lambda: ask(instance_type, region))
    if usd_per_hour is not None:
        return Price(usd_per_hour, source, datetime.now(UTC).date().isoformat())
    return table.pinned(instance_type, market=market, region=region)


def _asked(ask: Callable[[], float | None]) -> float | None:
    """USD per hour as AWS tells it; None when it cannot be asked, or answers what AWS does not document."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    # OSError: also the TimeoutError of the deadline. Another form: another server behind AWS_ENDPOINT_URL, such as
    # one for S3 alone.
    other_form = (LookupError, TypeError, ValueError, AttributeError)
    try:
        return before(DEADLINE_SECONDS, ask)
    except (BotoCoreError, ClientError, ResponseParserError, OSError, *other_form):
        return None

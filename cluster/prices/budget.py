"""Budgets in words: `--budget 50usd`, `--budget 3h`."""

import math
import re
from dataclasses import dataclass

from trainer.errors import InputError

_SECONDS_IN = {"s": 1.0, "min": 60.0, "h": 3600.0}
_AMOUNT = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"


@dataclass(frozen=True)
class Spending:
    """What a run may spend: money in USD or time in seconds, whichever is not None."""

    usd: float | None
    seconds: float | None


def parse_budget(text: str) -> Spending:
    """The budget in `text`: `50usd`, `2.5 usd`, `$50`, `3h`, `90min` or `45s`.

    Raises:
        InputError: the text has another form, or the budget is not positive.
    """
    dollars = re.fullmatch(rf"\$\s*{_AMOUNT}|{_AMOUNT}\s*usd", text.strip().lower())
    time = re.fullmatch(rf"{_AMOUNT}\s*({'|'.join(_SECONDS_IN)})", text.strip().lower())
    usd = float(dollars[1] or dollars[2]) if dollars else None
    seconds = float(time[1]) * _SECONDS_IN[time[2]] if time else None
    amount = usd if usd is not None else seconds
    if amount is None or not 0 < amount < math.inf:
        raise InputError(
            f"the budget {text!r} cannot be used: give money or time above zero, such as 50usd, $50, 3h or 90min"
        )
    return Spending(usd=usd, seconds=seconds)

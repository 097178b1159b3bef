"""Budgets in words, and what machine time costs."""

import pytest

from cluster.prices import Price, Spending, cost_usd, parse_budget
from trainer.errors import InputError


@pytest.mark.parametrize(
    ("text", "usd", "seconds"),
    [
        ("50usd", 50, None),
        ("2.5 usd", 2.5, None),
        ("$50", 50, None),
        ("$ .5", 0.5, None),
        (" 50USD ", 50, None),
        ("3h", None, 10800),
        ("1.5 h", None, 5400),
        ("90min", None, 5400),
        ("45s", None, 45),
    ],
)
def test_a_budget_is_money_or_time(text: str, usd: float | None, seconds: float | None) -> None:
    assert parse_budget(text) == Spending(usd=usd, seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", "50", "usd", "$", "-50usd", "$-1", "0usd", "$0.00", "0h", "0.0min", "nan usd", "nanh", "inf h", "1e3usd"),
        *("9" * 400 + "usd", "3 days", "3h 20min", "50 eur", "$50usd", "1,000usd", "1.usd", "\u0665usd", "50usd\n3h"),
    ],
)
def test_what_is_no_budget_is_refused_with_the_value_and_the_forms(text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_budget(text)
    assert repr(text) in str(refused.value)
    assert "50usd, $50, 3h or 90min" in str(refused.value)


@pytest.mark.parametrize(
    ("usd_per_hour", "seconds", "share", "cost"),
    [(1.2, 3600, 1.0, 1.2), (1.2, 1800, 0.25, 0.15), (1.2, 0, 1.0, 0), (0.0, 60, 1.0, 0), (None, 3600, 1.0, None)],
)
def test_the_cost_of_machine_time(usd_per_hour: float | None, seconds: float, share: float, cost: float | None) -> None:
    assert cost_usd(Price(usd_per_hour, "a test", ""), seconds=seconds, share=share) == pytest.approx(cost)


def test_a_whole_machine_is_the_default() -> None:
    assert cost_usd(Price(2.0, "a test", ""), seconds=5400) == 3.0

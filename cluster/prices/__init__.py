"""What a machine costs an hour, which machine this is, and budgets in words."""

from cluster.prices.budget import Spending, parse_budget
from cluster.prices.instance import Instance, this_instance
from cluster.prices.price import Price, cost_usd, hourly

__all__ = ["Instance", "Price", "Spending", "cost_usd", "hourly", "parse_budget", "this_instance"]

"""Shrinking a plan that fails: faults are left out, one by one, as long as it still fails."""

from collections.abc import Callable

from tests.simulation.plan import Plan


def shrunk(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """The plan with the fewest faults that leaving out single ones finds; `plan` itself must fail."""
    assert fails(plan), f"seed {plan.seed} does not fail"
    for fault in plan.faults:
        fewer = plan.without(fault)
        if fails(fewer):
            return shrunk(fewer, fails)
    return plan

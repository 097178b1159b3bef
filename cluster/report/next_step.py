"""What more work would buy where a study ended undecided, in one or two sentences."""

from cluster.analysis.next_step import MOST_SEEDS, Bought, NextStep
from cluster.report.duration import duration


def next_step(step: NextStep) -> str:
    """The sentence: what 5 dollars buy or, where nothing is paid for, what an hour buys."""
    price, found = ("5 usd", step.dollars) if step.dollars else ("One more hour", step.hour)
    return (
        f"What would decide most easily is B = {step.global_batch} against B = {step.reference}, in a study of these "
        f"two under another name and on other seeds. {price} {_bought(found, several=step.dollars is not None)}; "
        f"{_needed(step)}."
    )


def _bought(found: Bought, *, several: bool) -> str:
    s = "" if several else "s"
    if not found.chance:
        return f"do{'' if several else 'es'} not pay for three seeds of it"
    chance = f"a chance of {_percent(found.chance)} given how uncertain the difference is"
    return f"pay{s} for {found.seeds} seeds, which decide with {chance}"


def _needed(step: NextStep) -> str:
    if step.seeds_needed is None:
        return f"a chance of 80 % takes more than {MOST_SEEDS} seeds"
    cost = ""
    if step.usd_screen is not None and step.usd_seed:
        cost = f", {step.usd_screen + step.seeds_needed * step.usd_seed:,.2f} usd"
    took = duration(step.seconds_screen + step.seeds_needed * step.seconds_seed)
    return f"a chance of 80 % takes {step.seeds_needed} seeds, {took}{cost}"


def _percent(chance: float) -> str:
    return "more than 99 %" if chance > 0.99 else f"{100 * chance:.0f} %"

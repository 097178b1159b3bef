"""Play seeds, find planted faults, or shrink a seed that fails.

    python -m tests.simulation --seeds 1000 [--first 0]   play them
    python -m tests.simulation --seed 7 [--shrink]        one, with its trace; the fewest faults with which it fails
    python -m tests.simulation --planted [NAME ...]       plant each fault in turn, and say which seed finds it

With `--under NAME` all of that happens with a planted fault.
"""

import argparse
import gc
import re
import sys
import time

import pytest

from tests.simulation.day import Day, play, play_plan
from tests.simulation.plan import drawn
from tests.simulation.planted import PLANTED
from tests.simulation.shrink import shrunk


def main() -> int:
    """Do what is asked; 1 if something was wrong, or a planted fault was not found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--planted", nargs="*", choices=PLANTED, metavar="NAME")
    parser.add_argument("--under", choices=PLANTED, metavar="NAME")
    options = parser.parse_args()
    play(0)
    # What is imported by now stays, and need not be looked through again and again.
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        if options.under:
            PLANTED[options.under](patch)
        if options.planted is not None:
            return _find(options.planted or list(PLANTED), range(options.first, options.first + options.seeds))
        if options.seed is not None:
            return _show(options.seed, shrink=options.shrink)
        return _play(range(options.first, options.first + options.seeds))


def _play(seeds: range) -> int:
    began, faults, wrong = time.process_time(), 0, 0
    for seed in seeds:
        day = play(seed)
        faults += len(day.faults)
        wrong += bool(day.wrong)
        if day.wrong:
            print(f"seed {seed}: {', '.join(day.faults) or 'no fault'}: {day.wrong[0]}", flush=True)
    rate = 60 * len(seeds) / (time.process_time() - began)
    print(f"{len(seeds)} seeds from {seeds.start}, {faults} faults, {wrong} wrong, {rate:.0f} a minute of processor")
    return bool(wrong)


def _show(seed: int, *, shrink: bool) -> int:
    plan = drawn(seed)
    if shrink:
        kind = _kind(play_plan(plan))
        plan = shrunk(plan, lambda tried: _kind(play_plan(tried)) == kind != "")
    day: Day = play_plan(plan)
    for at, who, what, text in day.trace:
        print(f"{at:9.3f} {who:14} {what:8} {text}")
    print(f"\nseed {seed}: {plan.kind}, {plan.workers} workers, {plan.updates} updates, {day.runs} runs")
    for fault in plan.faults:
        print(f"  {fault}")
    for line in day.wrong:
        print(f"  WRONG: {line}")
    return bool(day.wrong)


def _kind(day: Day) -> str:
    """What was found to be wrong, without ids and numbers."""
    return re.sub(r"[0-9a-f]{8,}|[0-9.]+", "#", day.wrong[0]) if day.wrong else ""


def _find(names: list[str], seeds: range) -> int:
    missed = 0
    for name in names:
        with pytest.MonkeyPatch.context() as patch:
            PLANTED[name](patch)
            days = (play(seed) for seed in seeds)
            day = next((day for day in days if day.wrong), None)
        missed += day is None
        found = f"seed {day.plan.seed}: {day.wrong[0][:110]}" if day else f"not within {len(seeds)} seeds"
        print(f"{name}: {found}", flush=True)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())

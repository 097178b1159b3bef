"""Play seeds: `python -m tests.simulation --seeds 1000 [--first 0]`; one: `--seed 7`; look for faults: `--planted`."""

import argparse
import time
from collections.abc import Iterable

import pytest

from tests.simulation.day import play
from tests.simulation.planted import PLANTED


def main() -> None:
    """Play them, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--planted", action="store_true", help="plant each fault in turn, and say which seed finds it")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    if options.planted:
        _find(seeds)
    else:
        _play(seeds, each=options.seed is not None)


def _play(seeds: Iterable[int], *, each: bool) -> None:
    began, days, faults, wrong = time.perf_counter(), 0, 0, 0
    for seed in seeds:
        day = play(seed)
        days += 1
        faults += len(day.faults)
        wrong += bool(day.wrong)
        if day.wrong or each:
            print(f"seed {seed}: {day.runs} runs, {day.seconds:.0f} s, {', '.join(day.faults) or 'no fault'}")
            for line in day.wrong:
                print(f"  WRONG: {line}")
    seconds = time.perf_counter() - began
    print(f"{days} seeds, {faults} faults, {wrong} wrong, {60 * days / seconds:.0f} seeds a minute")


def _find(seeds: Iterable[int]) -> None:
    for name, plant in PLANTED.items():
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            days = ((seed, play(seed).wrong) for seed in seeds)
            seed, wrong = next(((seed, wrong) for seed, wrong in days if wrong), (None, ["not found"]))
        print(f"{name}: seed {seed}: {wrong[0][:120]}", flush=True)


if __name__ == "__main__":
    main()

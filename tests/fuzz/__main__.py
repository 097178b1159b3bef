"""Plays inputs: `python -m tests.fuzz --minutes 60 --seed 1`, one: `--kind specs --number 7`."""

import argparse
import time

from tests.fuzz.campaign import KINDS, Tally, opened
from tests.fuzz.engine import FLAGGED, play


def main() -> None:
    """Play them, print the flagged ones and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of each kind's first input")
    parser.add_argument("--inputs", type=int, help="end after this many inputs of each kind")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind; may be repeated")
    parser.add_argument("--number", type=int, help="only this input, and say what became of it")
    options = parser.parse_args()
    tally = Tally()
    kinds = options.kind or list(KINDS)
    with opened(kinds) as tries:
        ends = time.monotonic() + 60 * options.minutes
        number = options.first if options.number is None else options.number
        last = number + 1 if options.number is not None else options.first + (options.inputs or 10**9)
        while number < last and time.monotonic() < ends:
            for name in kinds:
                played = play(name, tries[name], seed=options.seed, number=number)
                tally.add(played)
                if played.outcome == FLAGGED or options.number is not None:
                    print(
                        f"{name} --seed {options.seed} --number {number}: {played.outcome}\n{played.detail}", flush=True
                    )
            number += 1
    print(tally)


if __name__ == "__main__":
    main()

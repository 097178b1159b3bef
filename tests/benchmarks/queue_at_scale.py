"""What an answer costs the queue, whatever the number of trials: `python -m tests.benchmarks.queue_at_scale`.

The queue alone, without Tune, lanes or training: each trial is suggested, completes, and is answered. One grid and one
protocol (a screen, then confirmations) of each size. Printed is the time of one trial in the queue, in milliseconds,
without and with what the queue takes once, before the first trial (the plan and its trials' ids).
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace

from ray.tune.search import Searcher

from cluster.lanes.events import TrialEnded, to_result
from cluster.lanes.queue import Queue, trial_of
from cluster.study import protocol
from cluster.study.protocol import Unfolding, Wanted
from cluster.study.rules import Protocol
from tests.support.trials import TINY
from trainer.report import State
from trainer.trial import Duration, TrialSpec

TRIAL = replace(TINY, budget=Duration(unit="epochs", amount=1), evaluate_every=Duration(unit="epochs", amount=1))
LANES = 64


def grid(trials: int) -> tuple[TrialSpec, ...]:
    """So many trials: 10 global batches of 10 rates each, on as many seeds as it takes."""
    return tuple(
        replace(
            TRIAL, global_batch=2 ** (2 + number // 10 % 10), learning_rate=0.1 * 2 ** (number % 10), seed=number // 100
        )
        for number in range(trials)
    )


def seconds(trials: tuple[TrialSpec, ...], rules: Protocol | None) -> tuple[float, float, int]:
    """The seconds until the first trial, the seconds after it, and how many trials there were."""

    def plan(losses: Mapping[str, float]) -> Wanted:
        return protocol.wanted(trials, rules, losses)

    began = time.perf_counter()
    queue = Queue(Unfolding(plan, {}), release=lambda: None, begins=lambda plan: None)
    ready, ended, running, number = time.perf_counter(), 0, [], 0
    while True:
        while len(running) < LANES:
            config = queue.suggest(str(number))
            if config is None or config == Searcher.FINISHED:
                break
            running.append((str(number), config))
            number += 1
        if not running:
            break
        name, config = running.pop(0)
        trial = trial_of(config)
        if trial is None:
            queue.on_trial_complete(name, {"done": True})
            continue
        result = to_result(TrialEnded(trial=trial, state=State.COMPLETED, validation_loss=trial.learning_rate))
        queue.on_trial_complete(name, result)
        ended += 1
    return ready - began, time.perf_counter() - ready, ended


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    for name, rules in (("grid", None), ("protocol", Protocol(extensions=1))):
        print(f"{name}: trials, ms for each, ms for each with what is done once before")
        for size in options.trials:
            before, during, ended = seconds(grid(size), rules)
            print(f"{ended:9,}  {during / ended * 1000:.3f}  {(before + during) / ended * 1000:.3f}", flush=True)


if __name__ == "__main__":
    main()

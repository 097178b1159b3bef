"""What must hold when a study has come to its end, whatever struck it: lines for what does not."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cluster.summary import query
from cluster.summary.problems import Problem
from cluster.summary.store import Summary
from cluster.summary.tables import FINISHED
from trainer.report import Evaluation, Outcome

STUDY = "tiny"
OF_EVALUATIONS = (
    *("update", "examples", "epoch", "training_loss", "validation_loss", "validation_accuracy"),
    *("gradient_norm", "learning_rate", "noise_scale"),
)
OF_ROWS = (
    *("state", "updates", "examples", "epochs", "padding_fraction", "final_training_loss", "final_validation_loss"),
    *("best_validation_loss", "best_validation_accuracy", "test_loss", "test_accuracy"),
    *("noise_scale", "noise_squared_gradient", "noise_trace"),
)
PARTS_OF_TIME = ("seconds_waiting", "seconds_starting", "seconds_evaluating", "seconds_saving")
# Clocks of one machine are read one after another.
SECONDS_OF_READING = 1.0
Answers = dict[str, tuple[list[Evaluation], Outcome]]


def wrong_in(summary: Summary, undisturbed: Answers, *, complete: bool, clocks: bool, kept: bool = True) -> list[str]:
    """What is wrong in a summary.

    Unless its attempts are `complete`, some were lost with a store; without `clocks`, the clock jumped. Unless a store
    has `kept` what was written, evaluations and weights may lack of a trial whose row came after it went back.
    """
    problems: list[Problem] = []
    summary = replace(summary, note=problems.append)
    trials = query.trials(summary, STUDY)
    evaluations = query.evaluations(summary, STUDY)
    rows, points = trials.to_pylist(), evaluations.to_pylist()
    return [
        *map(str, problems),
        *_answers(rows, undisturbed),
        *_curves(query.curves(evaluations).to_pylist(), points, undisturbed, kept=kept),
        *_attempts(rows, summary, complete=complete),
        *(_ledger(rows) if clocks else ()),
        *_checkpoints(summary, undisturbed, kept=kept),
    ]


def _answers(rows: list[dict[str, Any]], undisturbed: Answers) -> Iterator[str]:
    answers = [row for row in rows if row["state"] in FINISHED]
    counted = Counter(row["trial_id"] for row in answers)
    for trial_id in undisturbed.keys() | counted.keys():
        if counted[trial_id] != 1 or trial_id not in undisturbed:
            yield f"trial {trial_id} has {counted[trial_id]} answers"
    for row in answers:
        if row["trial_id"] in undisturbed:
            outcome = undisturbed[row["trial_id"]][1]
            for name in OF_ROWS:
                if not _same(row[name], getattr(outcome, name)):
                    yield f"trial {row['trial_id']}: {name} {row[name]!r} for {getattr(outcome, name)!r}"


def _curves(
    curves: list[dict[str, Any]], points: list[dict[str, Any]], undisturbed: Answers, *, kept: bool
) -> Iterator[str]:
    expected = {(trial_id, one.update): one for trial_id, (curve, _) in undisturbed.items() for one in curve}
    drawn = Counter((row["trial_id"], row["update"]) for row in curves)
    for key in expected.keys() | drawn.keys():
        if key not in expected or drawn[key] > 1 or (kept and not drawn[key]):
            yield f"the evaluation of {key} is there {drawn[key]} times"
    each = Counter((row["trial_id"], row["attempt"], row["update"]) for row in points)
    for (trial_id, attempt, update), times in each.items():
        if times != 1:
            yield f"attempt {attempt} of trial {trial_id} has {times} evaluations of update {update}"
    for row in points:
        one = expected.get((row["trial_id"], row["update"]))
        for name in OF_EVALUATIONS if one else ():
            if not _same(row[name], getattr(one, name)):
                yield f"trial {row['trial_id']} at {row['update']}: {name} {row[name]!r} for {getattr(one, name)!r}"


def _attempts(rows: list[dict[str, Any]], summary: Summary, *, complete: bool) -> Iterator[str]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        numbers[row["trial_id"]].append(row["attempt"])
    for trial_id, found in numbers.items():
        if len(set(found)) != len(found) or (complete and sorted(found) != list(range(1, len(found) + 1))):
            yield f"trial {trial_id} has rows of attempts {sorted(found)}"
    if complete:
        names = summary.store.names(f"attempts/study={STUDY}/")
        marked = sorted(match[1] for name in names if (match := re.search(r"/([0-9a-f]+-\d+)\.json$", name)))
        if marked != sorted(f"{row['trial_id']}-{row['attempt']}" for row in rows):
            yield f"{len(marked)} attempts began, {len(rows)} have a row"


def _ledger(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Each attempt's seconds are within its time."""
    for row in rows:
        name = f"attempt {row['attempt']} of trial {row['trial_id']} ({row['state']})"
        seconds = (row["ended_at"] - row["started_at"]).total_seconds()
        training = (row["seconds_training"] or 0.0) - (row["seconds_resumed"] or 0.0)
        parts = [row[part] or 0.0 for part in PARTS_OF_TIME]
        if min(seconds, training, *parts) < 0:
            yield f"{name} took {seconds:g} s, trained for {training:g} s, and had {parts}"
        elif training + sum(parts) > seconds + SECONDS_OF_READING:
            yield f"{name} took {seconds:g} s, of which {training:g} s are training, and {parts} others"


def _checkpoints(summary: Summary, undisturbed: Answers, *, kept: bool) -> Iterator[str]:
    """Of a trial with an answer, the best and the last weights are there, and nothing to resume from."""
    weights = {
        f"{trial_id}/{name}" for trial_id in undisturbed for name in ("best.json", "best.npz", "last.json", "last.npz")
    }
    folder = f"checkpoints/study={STUDY}/"
    found = {name.removeprefix(folder) for name in summary.store.names(folder)}
    missing = weights - found if kept else set()
    if missing or found - weights:
        yield f"checkpoints that are missing: {sorted(missing)}; that nobody needs: {sorted(found - weights)}"


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float) and math.isnan(found):
        return math.isnan(expected)
    return bool(found == expected)

"""The results by class: the same on any number of workers, those of plain predictions; no score moves by a digit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import bodies, processes
from trainer import classes
from trainer.evaluate import score, score_by_class
from trainer.order.world import World
from trainer.trial import TrialSpec

pytestmark = pytest.mark.tf


def scored(world: Any, folder: str, trial: TrialSpec) -> Any:
    """The score by class of an untrained model on the test split, a few rows at a time."""
    learner = bodies.open_learner(world, trial)
    learner.start(trial)
    return score_by_class(learner, bodies.open_data(folder).test, split="test", at_once=3)


def test_the_record_is_that_of_plain_predictions_on_one_worker_and_on_two(
    prepared: Path, tiny_trial: Callable[..., TrialSpec]
) -> None:
    trial, data = tiny_trial(seed=3), bodies.open_data(str(prepared))
    learner = bodies.open_learner(World(), trial)
    learner.start(trial)
    alone = score_by_class(learner, data.test, split="test", at_once=3)
    predicted, labels = [], []
    for row in range(len(data.test)):
        logits = learner.model(data.test.tokens(np.array([row])), training=False)
        predicted.append(int(np.argmax(logits)))
        labels.append(int(data.test.labels(np.array([row]))[0]))
    found = json.loads(alone.by_class)["confusion"]
    assert found == classes.counts(labels, predicted, classes=3).reshape(3, 3).tolist()
    assert len(set(predicted)) > 1
    pair = processes.run(scored, workers=2, arguments=(str(prepared), trial))
    assert [one.by_class for one in pair] == [alone.by_class] * 2


def test_a_score_by_class_has_every_digit_of_a_score(prepared: Path, tiny_trial: Callable[..., TrialSpec]) -> None:
    trial, rows = tiny_trial(seed=4), bodies.open_data(str(prepared)).test
    learner = bodies.open_learner(World(), trial)
    learner.start(trial)
    assert replace(score_by_class(learner, rows, split="test"), by_class=None) == score(learner, rows)


def test_a_trial_ends_with_the_test_split_by_class(
    prepared: Path, tiny_trial: Callable[..., TrialSpec], tmp_path: Path
) -> None:
    trial = tiny_trial(seed=5)
    learner = bodies.open_learner(World(), trial)
    _, outcome = bodies.trained(learner, str(prepared), trial, str(tmp_path))
    crossed = np.array(json.loads(outcome.test_classes)["confusion"])
    assert crossed.sum() == len(bodies.open_data(str(prepared)).test)
    assert np.trace(crossed) / crossed.sum() == outcome.test_accuracy

"""The proof that every lane makes before it trains: it holds for what is right and fails for what is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.lanes.failure import Fault, NotTheSameUpdateError, failure_of
from tests.conftest import hash_of
from trainer import check
from trainer.data.share import MicroBatch
from trainer.data.splits import open_data
from trainer.data.store import Folder
from trainer.order.world import World
from trainer.report import State
from trainer.trial import DTYPES, TrialSpec
from trainer.update.collective import Collective
from trainer.update.shape import Shape
from trainer.update.update import Learner


def proven(prepared: Path, trial: TrialSpec, **patched: Any) -> check.Proof:
    manifest, data = open_data(Folder(str(prepared)), hash_of(prepared))
    learner = Learner(Shape.of(trial, manifest), Collective(World(0, 1)))
    for name, method in patched.items():
        setattr(learner, name, method(getattr(learner, name)))
    return check.prove(trial, learner, data, micro_batch=4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_layout_is_proven(prepared: Path, tiny_trial: Callable[..., TrialSpec], dtype: str) -> None:
    found = proven(prepared, tiny_trial(dtype=dtype))
    assert found.rows == 17
    assert found.passed, found
    assert found.micro_batches > 0


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_mean_of_micro_batch_means_is_seen(prepared: Path, tiny_trial: Callable[..., TrialSpec], dtype: str) -> None:
    def add_mean(add: Callable[[MicroBatch], None]) -> Callable[[MicroBatch], None]:
        def once(one: MicroBatch) -> None:
            for _ in range(5 - len(one.labels) if len(one.labels) < 5 else 1):
                add(one)

        return once

    found = proven(prepared, tiny_trial(dtype=dtype), add=add_mean)
    assert not found.passed
    assert found.micro_batches > 0.1


def test_an_evaluation_by_means_of_pieces_is_seen(prepared: Path, tiny_trial: Callable[..., TrialSpec]) -> None:
    def by_mean(evaluate: Callable[..., Any]) -> Callable[..., Any]:
        def once(tokens: Any, labels: Any) -> Any:
            loss, right, count = evaluate(tokens, labels)
            return loss / count, right, count

        return once

    found = proven(prepared, tiny_trial(), evaluate=by_mean)
    assert not found.passed
    assert found.evaluation > 0.1


def test_what_fails_refuses_the_study(prepared: Path, tiny_trial: Callable[..., TrialSpec]) -> None:
    bad = replace(proven(prepared, tiny_trial()), workers=0.3)
    failure = failure_of(NotTheSameUpdateError(bad), workers=2)
    assert failure is not None
    assert failure.state is State.FAILED
    assert failure.fault is Fault.LAYOUT
    assert "3.0e-01 over the workers" in failure.error

"""Contract 2: any workers, micro-batch and grouping give the same update; and a detector that sees when they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import CHOSEN_OPTIMIZERS, write_prepared
from tests.support import bodies, processes
from tests.support.trials import TINY
from trainer.order.world import World
from trainer.trial import OPTIMIZERS, ModelSpec, TrialSpec

pytestmark = pytest.mark.tf
# Of the same number of units: XLA compiles a loop over tokens once for all of them.
MODELS = [
    ModelSpec(embedding_units=6, lstm_units=5),
    ModelSpec(embedding_units=6, lstm_units=5, dropout=0.5),
    ModelSpec(embedding_units=4, lstm_units=5, layers=2, bidirectional=True, dropout=0.3),
]
TRIALS = dict(
    enumerate(replace(TINY, model=model, dtype=dtype) for dtype in ("float64", "float32") for model in MODELS)
)
# By number of workers: on one all in float64; on two one with dropout, and the deep one in float32; on three the deep
# one. With --long all.
CHOSEN = {1: (0, 1, 2, 5), 2: (1, 5), 3: (2,)}


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2 error."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def sixty_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 60 training rows in 3 uneven shards."""
    folder = tmp_path_factory.mktemp("sixty") / "data"
    write_prepared(folder, train=60)
    return folder


@dataclass(frozen=True)
class Computed:
    """The gradients of every layout, all weights after 100 updates, and two runs of a trial, by one worker."""

    gradients: dict[tuple[int, int, int], np.ndarray]
    weights: dict[tuple[str, int], np.ndarray]
    runs: list[Any]


@pytest.fixture(scope="module")
def computed(
    sixty_rows: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory, long: bool
) -> dict[int, list[Computed]]:
    """By number of workers: what each of them computed, all of it in one process a worker; one worker is this one."""
    place = tmp_path_factory.mktemp("checkpoints")
    arguments = (str(sixty_rows), str(prepared), str(place), OPTIMIZERS if long else CHOSEN_OPTIMIZERS)
    trials = {workers: {one: TRIALS[one] for one in (TRIALS if long else few)} for workers, few in CHOSEN.items()}
    # One worker first: what it compiles is there for the others.
    alone = [compute(World(), trials.pop(1), *arguments)]
    return {1: alone} | {
        workers: processes.run(compute, workers=workers, arguments=(few, *arguments)) for workers, few in trials.items()
    }


def compute(
    world: World, trials: Mapping[int, TrialSpec], sixty_rows: str, prepared: str, place: str, optimizers: Sequence[str]
) -> Computed:
    """All of it; of three workers the gradients alone are asked for."""
    gradients = bodies.gradients(world, sixty_rows, trials)
    if world.workers == 3:
        return Computed(gradients, {}, [])
    trial = replace(TINY, model=MODELS[1])
    weights = bodies.weights_after(world, prepared, replace(trial, clip_norm=0.5), 100, optimizers)
    micro_batch = 5 if world.workers == 1 else 8
    runs = bodies.curves(world, prepared, trial, micro_batch, 2, f"{place}/{world.workers}")
    return Computed(gradients, weights, runs)


@pytest.fixture(scope="module")
def gradients(computed: dict[int, list[Computed]]) -> dict[int, Any]:
    """By number of workers: {(trial, B, m): loss and gradient}, the same on every rank."""
    for by_rank in computed.values():
        for other in by_rank[1:]:
            for key, value in other.gradients.items():
                np.testing.assert_array_equal(value, by_rank[0].gradients[key])
    return {workers: by_rank[0].gradients for workers, by_rank in computed.items()}


@pytest.mark.parametrize(("trials", "tolerance"), [(range(3), 1e-12), (range(3, 6), 1e-5)], ids=["float64", "float32"])
def test_every_layout_gives_the_gradient_of_the_whole_batch(
    gradients: dict[int, Any], trials: range, tolerance: float
) -> None:
    for workers, by_key in gradients.items():
        for (trial, batch, micro_batch), value in by_key.items():
            if trial in trials:
                # B = 1 on 2 and 3 workers has empty shares.
                whole = gradients[1][trial, batch, 1000]
                assert error(value, whole) <= tolerance, (workers, trial, batch, micro_batch)


def test_dropout_is_on_and_belongs_to_the_row(gradients: dict[int, Any]) -> None:
    assert error(gradients[1][1, 51, 1000], gradients[1][0, 51, 1000]) > 0.05


def test_the_detector_sees_a_mean_of_means_and_a_double_reduction(prepared: Path) -> None:
    found = wrong_gradients(str(prepared), TINY)
    assert error(found["sum then divide"], found["whole"]) <= 1e-12
    assert error(found["mean of means"], found["whole"]) > 0.01
    assert error(found["reduced twice"], found["whole"]) > 0.01


def wrong_gradients(folder: str, trial: TrialSpec) -> dict[str, np.ndarray]:
    """The gradient of 17 rows in micro-batches of 8, combined rightly and in the two ways people get it wrong."""
    from trainer.data import share
    from trainer.order import plan

    trial = replace(trial, dtype="float64")
    learner, rows = bodies.open_learner(World(), trial), bodies.open_data(folder).train
    learner.start(trial)

    def gradient(batches: list[Any], count: int) -> np.ndarray:
        for one in batches:
            learner.add(one)
        return np.concatenate([array.ravel() for array in learner.gradient(global_batch=count)[1]])

    positions = plan.positions_of(0, 17)
    [whole] = share.read_share(trial, rows, positions, 1000).micro_batches
    parts = share.read_share(trial, rows, positions, 8).micro_batches
    sizes = [len(part.labels) for part in parts]
    assert len(set(sizes)) > 1
    return {
        "whole": gradient([whole], 17),
        "sum then divide": gradient(parts, 17),
        "mean of means": np.mean([gradient([part], size) for part, size in zip(parts, sizes, strict=True)], axis=0),
        "reduced twice": gradient([*parts, *parts], 17),
    }


def test_weights_after_100_updates_agree(computed: dict[int, list[Computed]]) -> None:
    for workers in (1, 2):
        for (optimizer, micro_batch), value in computed[workers][0].weights.items():
            whole = computed[1][0].weights[optimizer, 1000]
            assert error(value, whole) <= 1e-4, (workers, optimizer, micro_batch)


def test_a_trial_repeats_to_the_last_digit_and_agrees_on_two_workers(
    computed: dict[int, list[Computed]], prepared: Path, tmp_path: Path
) -> None:
    # In another process.
    trial = replace(TINY, model=MODELS[1])
    again = processes.run(bodies.curves, workers=1, arguments=(str(prepared), trial, 5, 1, str(tmp_path)))[0]
    [alone], [pair, _] = computed[1], computed[2]

    def losses(run: Any) -> list[tuple[float, ...]]:
        return [(e.validation_loss, e.training_loss, e.gradient_norm) for e in run[0]]

    assert len(losses(alone.runs[0])) == 2
    assert losses(alone.runs[0]) == losses(alone.runs[1]) == losses(again[0])
    np.testing.assert_allclose(losses(pair.runs[0]), losses(alone.runs[0]), atol=1e-4)
    assert alone.runs[0][1].test_loss == again[0][1].test_loss

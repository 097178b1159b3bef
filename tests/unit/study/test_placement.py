"""What fits: lanes on a machine, rows in a micro-batch, and the arithmetic of what does not."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.study import head
from cluster.study.placement import Placement, micro_batch_rows, place, rows_at_once
from cluster.study.resources import Resources
from trainer.errors import InputError
from trainer.trial import Duration, ModelSpec, TrialSpec

# On a busy machine generating examples is slow, which says nothing about the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def some(count: int, global_batch: int = 16) -> list[TrialSpec]:
    return [
        TrialSpec(
            data_hash="d",
            task="regression",
            model=ModelSpec(),
            global_batch=global_batch + seed,
            learning_rate=0.1,
            optimizer="sgd",
            dtype="float32",
            seed=seed,
            budget=Duration(unit="epochs", amount=1),
            evaluate_every=Duration(unit="epochs", amount=1),
        )
        for seed in range(count)
    ]


def placed(count: int, cpus: float, gpus: float = 0, **resources: Any) -> Placement:
    return place(Resources(**resources), some(count), cpus=cpus, gpus=gpus)


def test_a_head_carries_as_many_lanes_as_its_memory_holds() -> None:
    assert [head.lanes_carried(gib * 2**30) for gib in (1, 4, 8, 16)] == [1, 6, 20, 47]
    wide = place(Resources(gpus_per_worker=0.25), some(40), cpus=64, gpus=8, carried=20)
    assert wide.lanes == 20
    assert wide.note is not None
    assert wide.note.startswith("32 lanes fit on the machines, but the memory of the cluster's head carries 20:")
    few = place(Resources(lanes=3), some(40), cpus=64, gpus=0, carried=20)
    assert (few.lanes, few.note) == (3, None)


@pytest.mark.parametrize(
    ("count", "machine", "resources", "lanes"),
    [
        (9, (4, 0), {}, 4),
        (9, (4, 0), {"lanes": 2}, 2),
        (9, (4, 0), {"workers": 2}, 2),
        (9, (5, 0), {"workers": 2}, 2),
        (9, (1, 0), {"workers": 2, "cpus_per_worker": 0.5}, 1),
        (9, (0.3, 0), {"cpus_per_worker": 0.1}, 3),
        (2, (4, 0), {}, 2),
        (9, (8, 1), {"gpus_per_worker": 1}, 1),
        (9, (8, 1), {"gpus_per_worker": 0.25}, 4),
        (9, (8, 2), {"gpus_per_worker": 0.6}, 2),  # a worker's part of a GPU lies in one GPU
        (9, (8, 4), {"gpus_per_worker": 2}, 2),
        (9, (2, 4), {"gpus_per_worker": 1}, 2),
    ],
)
def test_as_many_lanes_as_asked_fit_and_are_needed(
    count: int, machine: tuple[float, float], resources: dict[str, Any], lanes: int
) -> None:
    found = placed(count, *machine, **resources)
    assert found.lanes == lanes
    assert found.note is None
    assert found.workers == resources.get("workers", 1)
    workers = lanes * found.workers
    assert found.cpus == pytest.approx(workers * resources.get("cpus_per_worker", 1), abs=1e-12)
    assert found.gpus == pytest.approx(workers * resources.get("gpus_per_worker", 0), abs=1e-12)


def test_fewer_lanes_than_asked_are_explained() -> None:
    assert placed(9, 2, lanes=4).note == "4 lanes were asked for, but this machine holds 2"
    assert placed(9, 1, lanes=4).note == "4 lanes were asked for, but this machine holds 1"
    assert placed(1, 8, lanes=4).note == "4 lanes were asked for, but the study has only 1 trial"
    assert placed(4, 4, lanes=4).note is None
    assert [placed(9, 2, lanes=4).lanes, placed(1, 8, lanes=4).lanes] == [2, 1]


@pytest.mark.parametrize(("cpus_per_worker", "threads"), [(0.5, 1), (1, 1), (2.5, 2), (4, 4)])
def test_a_worker_has_the_threads_of_its_whole_cpus(cpus_per_worker: float, threads: int) -> None:
    assert placed(1, 8, cpus_per_worker=cpus_per_worker).threads_per_worker == threads


@pytest.mark.parametrize(
    ("machine", "resources", "message"),
    [
        (
            (1, 0),
            {"workers": 2},
            "a lane of 2 workers needs 2 CPUs, but this machine has 1: set resources.cpus_per_worker: 0.5",
        ),
        (
            (1, 0),
            {"cpus_per_worker": 4},
            "a lane of 1 worker needs 4 CPUs, but this machine has 1: set resources.cpus_per_worker: 1",
        ),
        (
            (4, 0),
            {"gpus_per_worker": 1},
            "a lane of 1 worker needs 1 GPU, but this machine has 0: "
            "set resources.gpus_per_worker: 0, or use a machine with a GPU",
        ),
        (
            (8, 2),
            {"workers": 3, "gpus_per_worker": 0.6},
            "a lane of 3 workers needs 1.8 GPUs, each worker's part within one GPU, "
            "but this machine has 2: set resources.gpus_per_worker: 0.5",
        ),
    ],
)
def test_no_lane_fits_and_the_arithmetic_is_shown(
    machine: tuple[float, float], resources: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        placed(9, *machine, **resources)
    assert str(caught.value) == message


@unhurried
@given(
    workers=st.integers(1, 40),
    cpus=st.integers(1, 64),
    gpus=st.integers(1, 8),
    cpus_per_worker=st.sampled_from([0.1, 0.3, 0.5, 1.0, 2.0, 7.5]),
    gpus_per_worker=st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0, 2.0]),
)
def test_lanes_never_take_more_than_there_is_and_the_remedy_of_a_refusal_fits(
    workers: int, cpus: int, gpus: int, cpus_per_worker: float, gpus_per_worker: float
) -> None:
    asked: dict[str, Any] = {"cpus_per_worker": cpus_per_worker, "gpus_per_worker": gpus_per_worker}
    for _ in range(3):  # at most one remedy for the CPUs and one for the GPUs
        try:
            found = placed(99, cpus, gpus, workers=workers, **asked)
            break
        except InputError as problem:
            remedy = re.search(r"set resources\.(\w+): (\S+)$", str(problem))
            assert remedy
            asked[remedy[1]] = float(remedy[2])
    else:
        pytest.fail(f"the remedy did not help: {asked}")
    assert found.lanes >= 1
    assert found.cpus <= cpus
    assert found.gpus <= gpus


@unhurried
@given(workers=st.integers(1, 64), global_batch=st.integers(1, 10_000))
def test_auto_is_the_share_up_to_a_bound(workers: int, global_batch: int) -> None:
    share = max(len(range(rank, global_batch, workers)) for rank in range(workers))
    assert micro_batch_rows(Resources(workers=workers), global_batch) == min(share, 32)
    assert micro_batch_rows(Resources(workers=workers, gpus_per_worker=1.0), global_batch) == min(share, 1024)


@pytest.mark.parametrize(("part", "rows"), [(0.0, 32), (0.001, 32), (0.25, 256), (0.3, 256), (0.5, 512), (2.0, 1024)])
def test_on_a_part_of_a_card_auto_begins_with_that_part_of_the_rows(part: float, rows: int) -> None:
    assert rows_at_once(Resources(gpus_per_worker=part)).micro_batch == rows


def test_where_fewer_rows_fit_fewer_are_begun_with_and_evaluated() -> None:
    found = rows_at_once(Resources(gpus_per_worker=1.0), fitting=100)
    assert (found.micro_batch, found.evaluation, found.shrinks) == (100, 100, True)
    assert rows_at_once(Resources(gpus_per_worker=1.0)).evaluation == 256


def test_a_given_micro_batch_stands_up_to_the_share() -> None:
    assert micro_batch_rows(Resources(workers=2, micro_batch=9), 17) == 9
    assert micro_batch_rows(Resources(workers=2, micro_batch=3), 17) == 3
    assert micro_batch_rows(Resources(micro_batch=100), 100) == 100
    assert micro_batch_rows(Resources(workers=2, micro_batch=512), 16) == 8


def test_a_micro_batch_that_no_trial_can_use_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        place(Resources(workers=2, micro_batch=512), some(1, global_batch=16), cpus=2, gpus=0)
    assert str(caught.value) == (
        "resources.micro_batch 512 is larger than the share of 8 rows (global batch 16 over 2 workers): "
        "give at most 8, or auto"
    )


def test_the_micro_batch_is_measured_on_the_largest_global_batch() -> None:
    wide = [*some(2), *some(1)]
    assert place(Resources(micro_batch=17), wide, cpus=1, gpus=0)
    with pytest.raises(InputError, match=r"micro_batch 18 .* share of 17 rows"):
        place(Resources(micro_batch=18), list(reversed(wide)), cpus=1, gpus=0)


def test_more_workers_than_rows_is_allowed() -> None:
    assert micro_batch_rows(Resources(workers=8), 3) == 1
    assert place(Resources(workers=8), some(1, global_batch=3), cpus=8, gpus=0).lanes == 1

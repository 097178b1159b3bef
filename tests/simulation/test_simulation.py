"""A few dozen seeds of the simulation, and faults planted in the product that they find; more by command."""

import pytest

from tests.simulation.day import play, play_plan
from tests.simulation.plan import drawn
from tests.simulation.planted import PLANTED
from tests.simulation.shrink import shrunk

pytestmark = pytest.mark.slow
SEEDS = 60
# Those that few seeds find; `python -m tests.simulation --planted` looks for all.
SOON = ("lost_without_a_row", "attempts_from_one", "last_part_forgotten", "bill_counts_twice", "replaced_forgotten")


def test_no_seed_finds_anything_wrong() -> None:
    days = [play(seed) for seed in range(SEEDS)]
    assert {day.plan.seed: (day.faults, day.wrong) for day in days if day.wrong} == {}
    assert sum(len(day.faults) for day in days) > 2 * SEEDS


def test_a_seed_is_the_same_day_each_time() -> None:
    first, second = play(11), play(11)
    assert first.faults
    assert first.trace == second.trace


@pytest.mark.parametrize("name", SOON)
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[name](monkeypatch)
    assert any(play(seed).wrong for seed in range(SEEDS))


def test_a_seed_that_fails_is_shrunk_to_the_faults_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED["lost_without_a_row"](monkeypatch)
    plan = next(plan for plan in map(drawn, range(SEEDS)) if len(plan.faults) > 2 and play_plan(plan).wrong)
    smallest = shrunk(plan, lambda tried: bool(play_plan(tried).wrong))
    assert play_plan(smallest).wrong
    assert 0 < len(smallest.faults) < len(plan.faults)
    assert not any(play_plan(smallest.without(fault)).wrong for fault in smallest.faults)

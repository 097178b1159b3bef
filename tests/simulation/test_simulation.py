"""A few dozen seeds of the simulation, and faults planted in the product that they find; more by command."""

import pytest

from tests.simulation.day import play
from tests.simulation.planted import PLANTED

pytestmark = pytest.mark.slow
SEEDS = 40
# Those that few seeds find; `python -m tests.simulation --planted` looks for all.
SOON = ("no_lost_rows", "attempts_from_one", "last_part_forgotten")


def test_no_seed_finds_anything_wrong() -> None:
    days = [play(seed) for seed in range(SEEDS)]
    assert {day.seed: (day.faults, day.wrong) for day in days if day.wrong} == {}
    assert sum(len(day.faults) for day in days) > SEEDS


def test_a_seed_is_the_same_day_each_time() -> None:
    first, second = play(11), play(11)
    assert (first.faults, first.runs, first.seconds) == (second.faults, second.runs, second.seconds)
    assert first.faults


@pytest.mark.parametrize("name", SOON)
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[name](monkeypatch)
    assert any(play(seed).wrong for seed in range(SEEDS))

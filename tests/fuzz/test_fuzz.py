"""A few inputs of every kind, and faults planted in the product that they find; many more by command."""

from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.campaign import KINDS
from tests.fuzz.engine import ACCEPTED, FLAGGED, REFUSED, WrongError, play
from tests.fuzz.planted import PLANTED
from trainer.errors import InputError

pytestmark = pytest.mark.slow
SEED, INPUTS = 2026, 24


@pytest.mark.parametrize("name", KINDS)
def test_no_input_is_answered_wrong_or_by_a_traceback(name: str, tmp_path: Path) -> None:
    with KINDS[name](tmp_path) as attempt:
        every = [play(name, attempt, seed=SEED, number=number) for number in range(INPUTS)]
    assert [played for played in every if played.outcome == FLAGGED] == []
    assert Counter(played.outcome for played in every).total() == INPUTS


def test_the_same_number_is_the_same_input(tmp_path: Path) -> None:
    with KINDS["csv"](tmp_path) as attempt:
        first, second = ([play("csv", attempt, seed=SEED, number=number) for number in range(9)] for _ in range(2))
    assert first == second
    assert {played.outcome for played in first} == {ACCEPTED, REFUSED}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, plant = PLANTED[fault]
    plant(monkeypatch)
    with KINDS[name](tmp_path) as attempt:
        assert any(play(name, attempt, seed=1, number=number).outcome == FLAGGED for number in range(60))


@pytest.mark.parametrize("problem", [ValueError("x"), WrongError("x"), InputError("\x00"), InputError("x" * 9_000)])
def test_whatever_is_no_refusal_in_words_is_flagged(problem: Exception) -> None:
    def attempt(_: object) -> bool:
        raise problem

    assert play("x", attempt, seed=0, number=0).outcome == FLAGGED

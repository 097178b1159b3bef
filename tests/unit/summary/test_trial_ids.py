"""The trial that a person means: by the first digits of its id, or the one with the lowest loss that kept weights."""

import math
from typing import Any

import pytest

from cluster.summary.tables import table_of
from cluster.summary.trial_ids import best, named
from trainer.errors import InputError


def rows(*ends: tuple[str, float | None]) -> list[dict[str, Any]]:
    return [
        {"study": "s", "trial_id": f"{number}", "attempt": 1, "state": state, "best_validation_loss": loss}
        for number, (state, loss) in enumerate(ends)
    ]


def test_the_best_has_the_lowest_loss_of_those_that_kept_weights() -> None:
    ends = (
        *(("COMPLETED", 0.5), ("COMPLETED", 0.25), ("STOPPED", 0.125), ("DIVERGED", 0.01), ("FAILED", 0.02)),
        *(("CANCELLED", 0.03), ("COMPLETED", math.nan), ("COMPLETED", None)),
    )
    assert best(table_of("trials", rows(*ends)), study="s") == "2"
    tied = rows(("COMPLETED", 0.5), ("COMPLETED", 0.5))
    assert best(table_of("trials", tied[::-1]), study="s") == "0"


def test_the_best_of_a_protocol_is_a_confirmation() -> None:
    ends = rows(("COMPLETED", 0.1), ("COMPLETED", 0.3), ("COMPLETED", 0.2), ("FAILED", None))
    phases = ("screen", "confirm", "confirm", "confirm")
    confirmed = [{**row, "phase": phase} for row, phase in zip(ends, phases, strict=True)]
    assert best(table_of("trials", confirmed), study="s") == "2"
    # None of them has completed yet.
    assert best(table_of("trials", [confirmed[0], confirmed[3]]), study="s") == "0"


def test_without_weights_there_is_no_best() -> None:
    with pytest.raises(InputError, match="no trial of study 's' has kept weights yet"):
        best(table_of("trials", rows(("FAILED", 0.5), ("CANCELLED", 0.1))), study="s")


def test_the_first_digits_are_enough_if_no_other_trial_has_them() -> None:
    known = ["4aad", "4abc", "5f00"]
    assert named("5", known, lister="x", study="s") == "5f00"
    assert named("4aad", known, lister="x", study="s") == "4aad"
    with pytest.raises(InputError, match=r"'4a' matches 2 trials of study 's' \(4aad, 4abc\)"):
        named("4a", known, lister="x", study="s")
    with pytest.raises(InputError, match=r"nearest: .*4aad.*: x lists those"):
        named("4aae", known, lister="x", study="s")

"""What is printed before a study begins: on how many seeds rates are screened."""

import pytest

from cluster.report.headline import _screens
from cluster.study.rules import Protocol


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Protocol(), "1 screen seed, 2 if runs are noisy"),
        (Protocol(screen_seeds=1), "1 screen seed"),
        (Protocol(screen_seeds=3), "3 screen seeds"),
        (Protocol(rates="best_of_grid"), "1 screen seed"),
    ],
)
def test_the_seeds_of_the_screen_are_told(rules: Protocol, said: str) -> None:
    assert _screens(rules) == said

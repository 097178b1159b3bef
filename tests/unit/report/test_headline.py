"""What is printed before a study begins: on how many seeds rates are screened, and what a margin is for."""

import pytest

from cluster.report.headline import _screens, margin_hint
from cluster.study.rules import Protocol
from tests.support.simulated import spec_of


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


def test_a_protocol_without_a_margin_is_told_before_it_runs() -> None:
    hint = margin_hint(spec_of(margin=None))
    assert hint is not None
    assert "declare one now" in hint
    assert margin_hint(spec_of()) is None
    assert margin_hint(spec_of(protocol=None, margin=None)) is None

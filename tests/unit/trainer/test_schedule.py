"""The learning rate of each update: its warm-up in examples, and its decay over the trial's own budget."""

import math
from collections.abc import Callable

import pytest

from trainer.trial import TrialSpec
from trainer.update.schedule import rate

Tiny = Callable[..., TrialSpec]


def rates(trial: TrialSpec, total: int) -> list[float]:
    return [rate(trial, update=update, total=total) for update in range(total)]


def test_without_a_schedule_the_rate_is_the_trials_to_the_last_digit(tiny_trial: Tiny) -> None:
    assert set(rates(tiny_trial(learning_rate=0.1), 7)) == {0.1}
    assert rate(tiny_trial(learning_rate=0.1), update=9, total=None) == 0.1


def test_a_decay_goes_by_the_trials_own_budget(tiny_trial: Tiny) -> None:
    assert rates(tiny_trial(learning_rate=1.0, schedule="linear"), 4) == [1.0, 0.75, 0.5, 0.25]
    half = math.sqrt(0.5) / 2
    expected = [1.0, 0.5 + half, 0.5, 0.5 - half]
    assert rates(tiny_trial(learning_rate=1.0, schedule="cosine"), 4) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("global_batch", [1, 7, 20, 64])
def test_a_warm_up_is_as_many_examples_for_every_global_batch(tiny_trial: Tiny, global_batch: int) -> None:
    trial = tiny_trial(learning_rate=1.0, warmup_examples=60, global_batch=global_batch)
    for update, found in enumerate(rates(trial, 80)):
        assert found == min(1.0, (update + 1) * global_batch / 60)


def test_warm_up_and_decay_multiply(tiny_trial: Tiny) -> None:
    trial = tiny_trial(learning_rate=1.0, schedule="linear", warmup_examples=20, global_batch=10)
    assert rates(trial, 4) == [0.5, 0.75, 0.5, 0.25]


def test_a_decay_without_an_end_is_refused(tiny_trial: Tiny) -> None:
    with pytest.raises(ValueError, match="schedule cosine needs a number of updates"):
        rate(tiny_trial(schedule="cosine"), update=0, total=None)

"""The automatic target, the end of a trial that reaches one, and the loss of guessing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.study import protocol
from cluster.study.chosen_rates import Choice, Choices
from cluster.study.target import automatic
from tests.support.simulated import ROWS, spec_of
from trainer.data import guess
from trainer.data.manifest import Manifest, Split
from trainer.errors import InputError


def screened(losses: list[float], deviation: float = 0.0) -> Choices:
    cells = {(batch, "adam", "float32"): Choice(rate=0.1, loss=loss) for batch, loss in enumerate(losses, 1)}
    return Choices(cells, deviation)


def test_it_is_the_worst_of_those_within_the_margin_and_half_a_margin() -> None:
    assert automatic(screened([0.80, 0.83, 0.86]), 0.05) == pytest.approx(0.83 + 0.025)
    assert automatic(screened([0.80, 0.83, 0.86]), 0.1) == pytest.approx(0.86 + 0.05)
    assert automatic(screened([0.80]), None) == pytest.approx(0.805)
    assert automatic(screened([]), 0.1) is None


def test_where_runs_scatter_it_is_what_most_of_them_reach() -> None:
    assert automatic(screened([0.80, 0.83], deviation=0.1), 0.05) == pytest.approx(0.83 + 0.165)
    assert automatic(screened([0.80, 0.83], deviation=0.01), 0.05) == pytest.approx(0.83 + 0.025)


@given(st.lists(st.floats(0.1, 3), min_size=1), st.floats(0.001, 1))
def test_the_best_batch_size_can_reach_it_and_no_loss_far_away_moves_it(losses: list[float], margin: float) -> None:
    found = automatic(screened(losses), margin)
    assert found is not None
    assert min(losses) < found <= min(losses) + 1.5 * margin * (1 + 1e-9)
    assert automatic(screened([*losses, min(losses) + 2 * margin]), margin) == found


def test_confirmations_carry_the_target_only_where_the_protocol_stops_there() -> None:
    for stop, expected in ((False, None), (True, 0.5 + 0.025)):
        spec = spec_of(target="auto", protocol={"stop_at_target": stop, "extensions": 0})
        from cluster.study import axes

        grid = axes.trials(spec, data_hash="d" * 16, train_rows=ROWS)
        losses: dict[str, float] = {}
        conditions = protocol.Conditions(target_after=spec.target_after)
        while missing := [
            planned.trial
            for planned in protocol.wanted(grid, spec.protocol, losses, conditions).trials
            if planned.trial.trial_id not in losses
        ]:
            losses |= dict.fromkeys((trial.trial_id for trial in missing), 0.5)
        plan = protocol.wanted(grid, spec.protocol, losses, conditions)
        confirmed = [planned.trial for planned in plan.trials if planned.phase == protocol.CONFIRM]
        assert {trial.stop_at_loss for trial in confirmed} == {expected}
        screened = [planned.trial for planned in plan.trials if planned.phase == protocol.SCREEN]
        assert {trial.stop_at_loss for trial in screened} == {None}


def test_a_protocol_that_stops_at_no_target_is_refused() -> None:
    with pytest.raises(InputError, match="stop_at_target needs a target: add target: auto"):
        spec_of(target=None, protocol={"stop_at_target": True})


def manifest(train: tuple[int, ...], validation: tuple[int, ...]) -> Manifest:
    def split(counts: tuple[int, ...]) -> Split:
        return Split(rows=sum(counts), tokens=9, label_counts=counts, length_histogram=(), shards=())

    return Manifest(
        task="classification",
        token_dtype="uint16",
        label_dtype="int32",
        vocabulary_size=9,
        max_tokens=9,
        label_names=(),
        tokenizer_sha256="",
        splits={"train": split(train), "validation": split(validation), "test": split(validation)},
        skipped_rows=0,
        tool_version="0",
        data_hash="d",
    )


def test_the_loss_of_guessing_by_the_labels_frequencies() -> None:
    assert guess.baseline_loss(manifest((50, 50), (3, 7))) == pytest.approx(math.log(2))
    assert guess.baseline_loss(manifest((75, 25), (4, 4))) == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert guess.baseline_loss(manifest((75, 0, 25), (4, 0, 4))) is not None
    assert guess.baseline_loss(manifest((75, 0), (4, 4))) is None
    assert guess.baseline_loss(manifest((), ())) is None

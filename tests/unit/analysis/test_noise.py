"""The deviation over seeds: its bound, and what pairs can tell of that size."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cluster.analysis.noise import bound_of, noise_of
from cluster.report.noise_text import text
from cluster.study.noise_study import is_of, noise_study, study_of_data
from tests.support.simulated import spec_of
from trainer.data import manifest
from trainer.data.store import Folder
from trainer.errors import InputError


def test_the_bounds_of_few_seeds() -> None:
    assert [bound_of(seeds) for seeds in (3, 5, 10)] == pytest.approx([2.12, 1.56, 1.29], abs=0.01)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_bound_holds_in_4_of_5_worlds(seeds: int) -> None:
    worlds = 2000
    drawn = np.random.default_rng(seeds).normal(1.4, 0.02, (worlds, seeds))
    held = sum(noise_bound(losses) >= 0.02 for losses in drawn)
    assert 0.78 <= held / worlds <= 0.82


def noise_bound(losses: np.ndarray) -> float:
    return float(np.std(losses, ddof=1)) * bound_of(len(losses))


def test_what_pairs_tell_of_a_deviation() -> None:
    noise = noise_of([1.0, 1.02, 0.98, 1.01, 0.99])
    assert noise.deviation == pytest.approx(np.std([1.0, 1.02, 0.98, 1.01, 0.99], ddof=1))
    # Five paired seeds detect 2.4 run deviations with 80 %, or decide a margin of 2.3 of them.
    assert noise.detectable[5] / noise.deviation == pytest.approx(2.4, abs=0.05)
    assert noise.decidable[5] / noise.deviation == pytest.approx(2.3, abs=0.06)
    with pytest.raises(ValueError, match="at least three"):
        noise_of([1.0, 1.1])
    with pytest.raises(ValueError, match="finite"):
        noise_of([1.0, 1.1, math.inf])


def test_words_propose_no_margin_and_judge_the_one_there_is() -> None:
    noise = noise_of([1.0, 1.02, 0.98, 1.01, 0.99])
    assert "5 seeds cannot decide the study's margin of 0.02; about" in text(noise, what="B = 32", margin=0.02)
    assert "5 seeds decide the study's margin of 0.1" in text(noise, what="B = 32", margin=0.1)
    alone = text(noise, what="B = 32", margin=None)
    assert "It does not follow from the noise" in alone
    assert "study's margin" not in alone
    assert text(noise_of([1.0] * 3), what="B = 32", margin=0.1)


def test_the_study_is_the_middle_of_the_one_that_is_asked_about() -> None:
    small = noise_study(spec_of(), global_batch=None, seeds=4)
    assert (small.study, small.axes.global_batch, small.axes.seeds) == ("simulated-noise", (128,), (0, 1, 2, 3))
    assert small.axes.learning_rate == (pytest.approx(0.02),)
    assert (small.protocol, small.target, small.margin) == (None, None, None)
    assert noise_study(spec_of(), global_batch=16, seeds=3).axes.global_batch == (16,)
    with pytest.raises(InputError, match="--global-batch 17 is not among"):
        noise_study(spec_of(), global_batch=17, seeds=3)


def test_of_several_settings_it_takes_the_first() -> None:
    axes = {**spec_of().axes.model_dump(exclude_none=True), "optimizer": ["adamw"]}
    spec = spec_of(axes={**axes, "beta1": ["fixed", {"value": 0.9, "at": 32}], "weight_decay": [0.01, 0.1]})
    small = noise_study(spec, global_batch=None, seeds=3)
    assert (small.axes.beta1, small.axes.weight_decay) == (("fixed",), (0.01,))


def test_of_an_uncertain_deviation_one_in_five_is_above_its_bound() -> None:
    assert stats.chi2.cdf(4 / bound_of(5) ** 2, 4) == pytest.approx(0.2)


def test_runs_of_another_batch_size_under_the_name_do_not_count() -> None:
    small = noise_study(spec_of(), global_batch=16, seeds=3)
    [rate] = small.axes.learning_rate
    own = {"global_batch": 16, "learning_rate": rate, "optimizer": "adam", "dtype": "float32"}
    assert is_of(own, small)
    for column, other in (("global_batch", 64), ("learning_rate", 0.5), ("optimizer", "sgd"), ("dtype", "float64")):
        assert not is_of(own | {column: other}, small)


def test_prepared_data_have_a_study_of_their_own(prepared: Path) -> None:
    spec = study_of_data(f"{prepared}/", manifest.read(Folder(str(prepared))))
    small = noise_study(spec, global_batch=None, seeds=5)
    assert (small.study, small.task, small.data) == (f"{prepared.name}-noise", "classification", f"{prepared}/")
    assert (small.axes.global_batch, small.axes.learning_rate, small.axes.seeds) == ((32,), (0.004,), tuple(range(5)))
    odd = study_of_data("s3://bucket/the lot_2", manifest.read(Folder(str(prepared))))
    assert odd.study == "the-lot-2"

"""The noise scale's algebra: two unbiased moments from any cut of a batch, and a ratio of averages (V3, V4)."""

import math

import numpy as np
import pytest

from trainer.order import measuring
from trainer.update import noise

DIMENSIONS, TRACE = 100, 100.0


def textbook(small: int, big: int, small_squared: float, big_squared: float) -> noise.Moments:
    """McCandlish et al., appendix A.1, from squared norms of mean gradients of two batch sizes."""
    squared_gradient = (big * big_squared - small * small_squared) / (big - small)
    return noise.Moments(squared_gradient, (small_squared - big_squared) / (1 / small - 1 / big))


def of_means(parts: list[int], parts_squared: list[float], whole_squared: float) -> noise.Moments:
    """The same from parts of so many rows, told by the squared norms of their means."""
    rows = sum(parts)
    return noise.moments(
        rows=rows,
        squared=rows**2 * whole_squared,
        part_rows_squared=sum(part**2 for part in parts),
        parts_squared=sum(part**2 * squared for part, squared in zip(parts, parts_squared, strict=True)),
    )


def measured(gradients: np.ndarray, sizes: list[int]) -> noise.Moments:
    """Of rows' gradients [rows, dimensions], cut into parts of the given sizes."""
    sums = [part.sum(axis=0) for part in np.split(gradients, np.cumsum(sizes)[:-1])]
    return noise.moments(
        rows=len(gradients),
        squared=float((gradients.sum(axis=0) ** 2).sum()),
        part_rows_squared=sum(size**2 for size in sizes),
        parts_squared=sum(float((one**2).sum()) for one in sums),
    )


def test_v3_the_textbooks_algebra() -> None:
    found = of_means([10] * 10, [11] * 10, 2)
    assert found == pytest.approx((1, 100), abs=1e-9)
    assert found == pytest.approx(textbook(10, 100, 11, 2), abs=1e-9)
    assert noise.scale([found]) == pytest.approx(100, abs=1e-9)


@pytest.mark.parametrize("sizes", [[50, 50], [1] * 100, [7, 33, 1, 59], [96, 4]])
def test_parts_of_any_size_give_what_was_expected_of_them(sizes: list[int]) -> None:
    squares = [1 + TRACE / size for size in sizes]
    assert of_means(sizes, squares, 1 + TRACE / 100) == pytest.approx((1, TRACE), abs=1e-9)


def drawn(pairs: int, seed: int, rows: int, sizes: list[int]) -> list[noise.Moments]:
    draw = np.random.default_rng(seed)
    mean = np.full(DIMENSIONS, DIMENSIONS**-0.5)
    return [measured(mean + draw.standard_normal((rows, DIMENSIONS)), sizes) for _ in range(pairs)]


@pytest.mark.parametrize("sizes", [[10] * 10, [12, 13] * 4, [20, 5, 20, 5, 20, 5, 20, 5], [1] * 100])
@pytest.mark.parametrize("seed", range(3))
def test_v4_the_ratio_of_averages_is_the_noise_scale(sizes: list[int], seed: int) -> None:
    assert 90 < noise.scale(drawn(200, seed, 100, sizes)) < 110  # type: ignore[operator]


@pytest.mark.slow
def test_a_mean_of_ratios_is_biased_where_a_ratio_of_means_is_not() -> None:
    found = drawn(4000, 1, 100, [10] * 10)
    assert noise.scale(found) == pytest.approx(TRACE, rel=0.02)
    assert np.mean([one.trace / one.squared_gradient for one in found]) > 1.05 * TRACE
    # Far below the noise scale single estimates of |G|^2 are often negative; their average is still right.
    small = drawn(8000, 1, 16, [8, 8])
    assert np.mean([one.squared_gradient < 0 for one in small]) > 0.1
    assert noise.scale(small) == pytest.approx(TRACE, rel=0.1)


def test_parts_that_are_not_drawn_at_random_pass_for_noise() -> None:
    """Why a measured batch is cut by position and not by length."""
    draw, lengths = np.random.default_rng(1), np.arange(100)
    found = []
    for _ in range(200):
        gradients = 0.1 + draw.standard_normal((100, DIMENSIONS)) + (draw.permutation(lengths) / 50 - 1)[:, None]
        by_length = gradients[np.argsort(gradients.sum(axis=1))]
        found.append([measured(gradients, [10] * 10), measured(by_length, [10] * 10)])
    expected = DIMENSIONS * (1 + np.var(lengths / 50, ddof=1))
    by_position, by_length = np.mean(found, axis=0)[:, 1]
    assert by_position == pytest.approx(expected, rel=0.05)
    assert by_length > 2 * expected


def test_nothing_is_said_of_nothing_or_of_a_gradient_below_the_noise() -> None:
    assert noise.scale([]) is None
    assert noise.scale([[0.0, 5.0]]) is None
    assert noise.scale([[1.0, 5.0], [-2.0, 5.0]]) is None
    assert noise.scale([[1.0, math.inf]]) is None
    assert noise.scale([[1.0, 0.0]]) == 0
    assert noise.scale([[1.0, 5.0], [3.0, 1.0]]) == 1.5


def test_a_batch_is_cut_into_at_least_two_parts_and_one_row_into_none() -> None:
    assert [measuring.part_rows(batch) for batch in (2, 3, 8, 15, 16, 1000)] == [1, 1, 1, 1, 2, 125]
    assert not any(measuring.is_measured(update, global_batch=1) for update in range(1000))
    found = [update for update in range(1000) if measuring.is_measured(update, global_batch=2)]
    assert found == list(range(measuring.EVERY - 1, 1000, measuring.EVERY))


@pytest.mark.tf
def test_a_tokens_gradients_are_summed_before_they_are_squared() -> None:
    import tensorflow as tf

    slices = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 0.0], [5.0, -2.0]]), tf.constant([4, 1, 4]), (9, 2))
    assert float(noise.squared_norm([slices, None, tf.constant([2.0])])) == 6**2 + 3**2 + 2**2

"""The parts of the page: scales with round ticks, escaped markup, ordered colours that are seen, curves kept honest."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.report.page import palette
from cluster.report.page.chart import text_width
from cluster.report.page.markup import Markup, join, short, tag
from cluster.report.page.scales import Scale, apart, linear, log, tick_text
from cluster.report.page.series import thin

VALUES = st.lists(st.floats(1e-6, 1e7), min_size=1, max_size=5)


@given(VALUES, st.booleans())
@example([9999976.0, 9999980.0], True)
def test_a_scale_holds_its_values_and_its_ticks_are_round(values: list[float], logarithmic: bool) -> None:
    scale = log(values, 10.0, 300.0) if logarithmic else linear(values, 10.0, 300.0)
    assert all(10.0 <= scale(value) <= 300.0 for value in values)
    assert scale.many(np.array(values)) == pytest.approx([scale(value) for value in values], rel=1e-9, abs=1e-6)
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 6
    assert all(scale.low * (1 - 1e-9) <= tick <= scale.high * (1 + 1e-9) for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "logarithmic", "expected"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (0.62, 1.01, False, [0.7, 0.8, 0.9, 1.0]),
        (0.5, 2e6, True, [1, 100, 1e4, 1e6]),
        (3, 900, True, [3, 10, 30, 100, 300]),
        (90, 600, True, [100, 200, 500]),
    ],
)
def test_known_ticks(low: float, high: float, logarithmic: bool, expected: list[float]) -> None:
    assert Scale(low, high, 0, 100, log=logarithmic).ticks(6) == pytest.approx(expected)


def test_ticks_are_named_shortly() -> None:
    values = (0, 0.25, 1e-5, 1.92e-4, 0.00192, 1, 250, 4000, 20_000, 1.5e6, -0.04)
    texts = ("0", "0.25", "1e-5", "1.92e-4", "0.00192", "1", "250", "4,000", "20k", "1.5M", "-0.04")
    assert tuple(map(tick_text, values)) == texts
    assert max(text_width(text, 11) for text in texts) <= 49


def test_labels_that_would_touch_are_left_out_but_never_the_ends() -> None:
    assert apart([0, 5, 50, 95, 100], [10] * 5) == [True, False, True, False, True]


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    inner = tag("b", "<i> & \x1b[31m\x00red")
    assert inner == "<b>&lt;i&gt; &amp; red</b>"
    assert tag("p", inner, "<", title='"<>&') == f'<p title="&quot;&lt;&gt;&amp;">{inner}&lt;</p>'
    assert join(["<", Markup("<br>")]) == "&lt;<br>"
    assert tag("input", checked=True, disabled=False, aria_label=None, type="radio") == '<input checked type="radio">'
    assert [short(value) for value in (1, 1.5, 1 / 3, -0.001)] == ["1", "1.5", "0.33", "-0"]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("count", [1, 2, 6, 12])
def test_colours_fall_in_lightness_and_are_seen_on_their_ground(dark: bool, count: int) -> None:
    colours = palette.batch_colours(count, dark=dark)
    lights = [luminance(colour) for colour in colours]
    assert len(set(colours)) == count
    assert lights == sorted(lights, reverse=True)
    assert min(contrast(colour, (palette.DARK if dark else palette.LIGHT)["paper"]) for colour in colours) >= 3


@pytest.mark.parametrize("scheme", [palette.LIGHT, palette.DARK])
def test_texts_are_read_on_their_ground(scheme: dict[str, str]) -> None:
    for name in ("ink", "soft", "accent", "good", "bad"):
        assert min(contrast(scheme[name], scheme[ground]) for ground in ("paper", "ground")) >= 4.5, name


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.floats(0.5, 10))
def test_thinning_keeps_the_ends_and_every_column_s_lowest_and_highest(values: list[float], width: float) -> None:
    at, heights = np.linspace(0, 60, len(values)), np.array(values)
    kept = thin(at, heights, width)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert len(kept) <= 2 * (math.floor(60 / width) + 1) + 2
    for column in np.unique(np.floor(at / width)):
        inside = np.flatnonzero(np.floor(at / width) == column)
        drawn = heights[[one for one in kept if one in set(inside.tolist())]]
        assert (drawn.min(), drawn.max()) == (heights[inside].min(), heights[inside].max())

"""Colours: an ordered palette over the batch sizes, light and dark, and the stylesheets made from it.

Batch sizes have an order, so they get a scale of falling lightness (small ones light, large ones dark), which remains a
scale for colour-blind eyes and in greyscale. Each colour has a contrast of at least 3:1 against its background. Colours
are never the only cue: every line and mark has its batch size next to it or on its axis.
"""

import re
from collections.abc import Sequence
from importlib.resources import files

LIGHT = {
    "paper": "#ffffff",
    "ground": "#f6f6f3",
    "ink": "#1d2128",
    "soft": "#5a616c",
    "grid": "#e6e6e1",
    "axis": "#8d939c",
    "accent": "#1a5fb4",
    "good": "#17663a",
    "bad": "#a8201a",
    "band": "#e3ecf7",
}
DARK = {
    "paper": "#1a1d23",
    "ground": "#121419",
    "ink": "#eceef1",
    "soft": "#a9b0bb",
    "grid": "#2d323a",
    "axis": "#79818d",
    "accent": "#8ab8f5",
    "good": "#7fd6a0",
    "bad": "#ff9d94",
    "band": "#25324a",
}
_LIGHT_STOPS = ("#dd7a0a", "#d2502f", "#b02a6a", "#73228c", "#2c1f78")
_DARK_STOPS = ("#ffd98a", "#ffae5e", "#fb7d7d", "#d468b5", "#8468e8")


def batch_colours(count: int, *, dark: bool = False) -> list[str]:
    """`count` colours, from small batches to large ones, evenly along the palette."""
    stops = [_channels(stop) for stop in (_DARK_STOPS if dark else _LIGHT_STOPS)]
    colours = []
    for number in range(count):
        place = number / max(1, count - 1) * (len(stops) - 1)
        before = min(int(place), len(stops) - 2)
        pair = zip(stops[before], stops[before + 1], strict=True)
        mixed = [round(one + (other - one) * (place - before)) for one, other in pair]
        colours.append("#{:02x}{:02x}{:02x}".format(*mixed))
    return colours


def _channels(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def variables(count: int, *, dark: bool = False) -> dict[str, str]:
    """The colours of one scheme by name: `ink` and the like, and b0, b1 ... for the batch sizes."""
    named = {f"b{number}": colour for number, colour in enumerate(batch_colours(count, dark=dark))}
    return {**(DARK if dark else LIGHT), **named}


def chart_style(count: int) -> str:
    """The rules of the marks, with colours as variables: s3 and f3 are stroke and fill of batch size number 3."""
    rules = files("cluster.report.page").joinpath("chart.css").read_text(encoding="utf-8")
    return rules + "".join(
        f".s{number}{{stroke:var(--b{number})}}.f{number}{{fill:var(--b{number})}}" for number in range(count)
    )


def page_style(count: int) -> str:
    """The rules of the page's colours: light, and dark on screens of readers whose system prefers it."""
    return (
        f":root{{color-scheme:light dark;{_declared(variables(count))}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_declared(variables(count, dark=True))}}}}}"
    )


def literal(style: str, count: int) -> str:
    """A stylesheet with the light colours written out, for programs without CSS variables."""
    colours = variables(count)
    return re.sub(r"var\(--(\w+)\)", lambda found: colours[found[1]], style)


def index(batches: Sequence[int]) -> dict[int, int]:
    """The place of each batch size in the palette."""
    return {batch: number for number, batch in enumerate(sorted(set(batches)))}


def _declared(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())

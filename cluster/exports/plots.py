"""The plots of a study's page as files for a paper: unchanged as SVG, or as PNG at the width of a printed page."""

import importlib.util
from collections.abc import Iterator, Mapping

from trainer.errors import InputError, NotReadyError

SVG, PNG = FORMATS = ("svg", "png")
# A text width of 6.5 inches at 300 dots per inch.
WIDTH_PIXELS = 1950
# Possible `sans-serif` fonts on Linux, macOS and Windows, narrow ones first; resvg does not ask the system for its own.
FONTS = (
    "Helvetica Neue",
    "Helvetica",
    "Arial",
    "Liberation Sans",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "Open Sans",
    "Ubuntu",
    "Cantarell",
    "DejaVu Sans",
)
_PROBE = '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32">{}</svg>'


def names(charts: Mapping[str, str], *, form: str) -> list[str]:
    """The files' names, one for each chart.

    Raises:
        InputError: there is no chart to draw yet, or `form` is PNG and its library is not installed.
        NotReadyError: `form` is PNG and this machine has no font for it.
    """
    if not charts:
        raise InputError("there is nothing to draw yet: no trial has ended")
    if form == PNG:
        if importlib.util.find_spec("resvg_py") is None:
            raise InputError("--format png needs resvg: pip install 'batchscope[images]', or take --format svg")
        _font()
    return [f"{name}.{form}" for name in charts]


def contents(charts: Mapping[str, str], *, form: str) -> Iterator[bytes]:
    """The contents of the files of `names`."""
    font = _font() if form == PNG else ""
    for svg in charts.values():
        yield svg.encode() if form == SVG else _png(svg, font, width=WIDTH_PIXELS)


def _font() -> str:
    """The first of FONTS that this machine has. Text in a missing font would silently be left out."""
    empty = _png(_PROBE.format(""), "")
    for font in FONTS:
        if _png(_PROBE.format('<text y="24" font-family="sans-serif">B</text>'), font) != empty:
            return font
    raise NotReadyError(
        f"--format png needs one of the fonts {', '.join(FONTS)}, and this machine has none: install one (on Debian: "
        "apt install fonts-dejavu-core), or take --format svg"
    )


def _png(svg: str, font: str, *, width: int | None = None) -> bytes:
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, background="white", sans_serif_family=font, width=width))

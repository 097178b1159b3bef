"""`batchscope.Plot`: one plot of a study's page, which a notebook draws."""

from dataclasses import dataclass

from .shown import Shown


@dataclass(frozen=True, repr=False)
class Plot(Shown):
    """A plot as SVG, with texts escaped and without script.

    >>> plots = batchscope.Summary("summary").plots("wiki")
    >>> plots["losses"]                          # drawn in a notebook
    >>> pathlib.Path("losses.svg").write_text(plots["losses"].svg)
    """

    name: str
    svg: str

    def __repr__(self) -> str:
        """What stands in for the drawing where there is only text."""
        return f"Plot({self.name!r})"

    def _repr_html_(self) -> str:
        """The drawing on white, since its texts are dark and a notebook may be too."""
        _, opening, drawing = self.svg.partition("<svg")
        return f'<div style="background: white; max-width: 60em">{opening}{drawing}</div>'

"""How an object shows itself in a notebook: the same content as text and as HTML, for whichever a front end draws."""

from abc import ABC, abstractmethod
from typing import Any


class Shown(ABC):
    """Something with a `_repr_html_`; a notebook shows it as that or, without HTML, as its `repr`."""

    @abstractmethod
    def _repr_html_(self) -> str:
        """The content as HTML, in which names and errors are escaped."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """The content by its MIME type, which IPython asks for first; it filters by itself."""
        return {"text/plain": repr(self), "text/html": str(self._repr_html_())}

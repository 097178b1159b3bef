"""The articles that come with the package, for `batchscope demo`; README.md in this folder has licence and source."""

from importlib.resources import files
from pathlib import Path


def path() -> Path:
    """The Parquet file of the articles: columns `id`, `text`, `label`, `title` and `url`."""
    # The package is installed as files, never as a zip (pyarrow reads by path), so the resource is a path.
    return Path(str(files(__name__) / "wiki_vital.parquet"))

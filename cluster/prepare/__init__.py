"""Articles -> a prepared data set: `prepare()`, and the word for where it is in its work, `Progress`."""

from cluster.prepare.dataset import prepare
from cluster.prepare.progress import Progress, bar

__all__ = ["Progress", "bar", "prepare"]

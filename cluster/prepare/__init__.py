"""Turning articles into a prepared data set: `prepare()`, and `Progress`, the callback that reports how far it is."""

from cluster.prepare.dataset import prepare
from cluster.prepare.progress import Progress, bar

__all__ = ["Progress", "bar", "prepare"]

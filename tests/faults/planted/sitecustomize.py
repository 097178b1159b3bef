"""Plants the points of `tests.faults.points` in each process that has this folder on its path: Python imports this."""

from tests.faults import points

points.plant()

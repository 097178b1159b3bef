"""Lanes: warm worker groups on Ray that train a study's trials, one after the other.

The modules here import Ray, which reads its environment as it is imported: so it is set first.
"""

from cluster.process.ray_environment import set_environment

set_environment()

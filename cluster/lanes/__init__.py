"""Lanes: warm worker groups on Ray that train a study's trials, one after the other.

The modules of this room import Ray, which reads its environment then.
"""

from cluster.process.ray_environment import set_environment

set_environment()

"""How many lanes a cluster's head carries: each has processes there that train nothing, and the head trains nothing.

A lane is Ray Tune's process, in which its Train controller runs, and Train's process that workers wait for each other
with; the rest is Ray's head, its dashboard and autoscaler, and the driver. Measured by
`python -m tests.benchmarks.head_memory`.
"""

MIB = 2**20
BYTES_OF_A_LANE = 300 * MIB
BYTES_OF_THE_REST = 2048 * MIB


def lanes_carried(memory_bytes: int) -> int:
    """The lanes that a head with so much memory carries; at least 1."""
    return max(1, (memory_bytes - BYTES_OF_THE_REST) // BYTES_OF_A_LANE)

"""A running cluster as its GCS knows it, asked by somebody who is no driver of it."""

from typing import Any


class Seen:
    """What a cluster holds of its drivers."""

    def __init__(self, address: str) -> None:
        from ray import _raylet
        from ray._private.state import GlobalState

        raylet: Any = _raylet
        self.address = address
        self._state: Any = GlobalState()
        self._state._initialize_global_state(
            raylet.GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
        )

    def left(self) -> list[str]:
        """What drivers have left behind: their jobs, their actors, their placement groups."""
        groups = self._state.placement_group_table().values()
        actors = self._state.actor_table(None, None, None).values()
        return [
            *[f"job {job['JobID']}" for job in self._state.job_table() if not job["IsDead"]],
            *[f"actor {one['ActorClassName']} {one['State']}" for one in actors if one["State"] != "DEAD"],
            *[f"placement group {one['name']} {one['state']}" for one in groups if one["state"] != "REMOVED"],
        ]

    def leave(self) -> None:
        """Ask no more: a client of a GCS that has gone away takes its process with it."""
        self._state.disconnect()

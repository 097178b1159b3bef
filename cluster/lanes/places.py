"""The places that Ray reserves for a lane's workers, freed when the lane's controller was killed."""

from typing import Any

import ray


def free_places_of_the_dead() -> int:
    """Remove the placement groups of this job whose creator, a lane's controller, was killed; return how many.

    Ray itself removes them only when the whole job has ended (`GcsPlacementGroup::IsPlacementGroupLifetimeDone`): until
    then their machines are taken, and paid for, by nobody.
    """
    from ray._private.state import state
    from ray.core.generated import gcs_pb2
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    # The classes of this generated module are made when it is imported.
    row: Any = vars(gcs_pb2)["PlacementGroupTableData"]
    # What a driver made, such as Tune's places for lanes, has no creating actor, and counts as if that were dead.
    job, no_actor = ray.get_runtime_context().get_job_id(), ray.ActorID.nil().binary()
    table = map(row.FromString, state._connect_and_get_accessor().get_placement_group_table())
    left = [
        group
        for group in table
        if group.creator_actor_dead
        and group.creator_actor_id not in (b"", no_actor)
        and group.creator_job_id.hex() == job
        and group.state != row.REMOVED
    ]
    for group in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(left)

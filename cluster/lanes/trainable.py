"""A lane as Ray Tune runs it: each Tune trial is the lane's next trial, each of its events a Tune result.

Tune reuses the actor of this class (`reuse_actors=True`): the lane's workers stay warm from trial to trial.
"""

from typing import Any

from ray import tune

from cluster.lanes.events import to_result
from cluster.lanes.lane import Lane
from cluster.lanes.lane_board import LaneBoard
from cluster.lanes.queue import REST
from cluster.lanes.settings import LaneSettings
from trainer.trial import from_dict

# About what it takes to start workers anew: a lane that rests for longer gives its machines back.
SECONDS_OF_WARM_REST = 120.0


class LaneTrainable(tune.Trainable):
    """Hands Tune's trials to a lane; between two phases a lane rests (`cluster.lanes.queue`)."""

    def setup(self, config: dict[str, Any], settings: LaneSettings | None = None) -> None:
        """Start the lane's worker group."""
        assert settings is not None
        self._board = LaneBoard(settings.board)
        self._lane = Lane(settings, self._board, self.trial_id, from_dict(config["trial"]))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; if Tune stopped the previous one before its end, that trial gets its row first."""
        self._lane.stop_trial()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next event of the trial; a rest ends when the queue knows more."""
        if self._rest is None:
            return to_result(self._lane.next_event())
        if not self._board.rest(self._rest, SECONDS_OF_WARM_REST):
            self._lane.give_back()
            self._board.rest(self._rest)
        return {"done": True}

    def cleanup(self) -> None:
        """Let the workers end."""
        self._lane.close()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Save nothing: trials keep their own checkpoints, but Tune calls this before it reuses an actor."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing, for the same reason."""

    def _begin(self, config: dict[str, Any]) -> None:
        self._rest: int | None = config.get(REST)
        if self._rest is None:
            self._lane.take(from_dict(config["trial"]), config["phase"])

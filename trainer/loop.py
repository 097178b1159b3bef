"""The journey of one trial on one worker: every update uses an exact global batch, whatever the number of workers."""

from collections.abc import Callable

from trainer.checkpoint import Checkpoints, Progress
from trainer.data.rows import read_ahead
from trainer.data.share import shares_of
from trainer.data.splits import Data
from trainer.errors import DivergedError
from trainer.journey import Journey
from trainer.report import Evaluation, Outcome, State
from trainer.trial import TrialSpec
from trainer.update.update import Learner


def train(
    trial: TrialSpec,
    *,
    learner: Learner,
    data: Data,
    micro_batch: int,
    checkpoints: Checkpoints,
    checkpoint_every_seconds: float,
    publish: Callable[[Evaluation], None],
    heartbeat: Callable[[Progress], State | None],
    evaluation_rows: int | None = None,
) -> Outcome:
    """Train `trial` from its last checkpoint to its end, or until `heartbeat` returns the state in which it must end.

    Every worker calls this with the same arguments; `publish` gets the same values on every worker. `heartbeat` gets
    the progress before each update; all workers obey what it returns on rank 0 after that update. `evaluation_rows` is
    the largest number of rows that an evaluation computes at once.
    """
    journey = Journey(trial, learner, data, checkpoints, publish, evaluation_rows)
    shares = shares_of(trial, data.train, learner.collective.world, micro_batch, journey.progress.update)
    try:
        for share in read_ahead(shares):
            wish = heartbeat(journey.progress)
            following = journey.update(share, wish)
            if following.last or following.evaluate:
                journey.evaluate()
            if following.last or journey.reached_target():
                return journey.ended(State.COMPLETED)
            if following.stop:
                return journey.stopped(wish or State.CANCELLED)
            if journey.seconds_since_saved() >= checkpoint_every_seconds:
                journey.save()
    except DivergedError as problem:
        return journey.ended(State.DIVERGED, error=str(problem))
    raise AssertionError("the order of rows is endless")

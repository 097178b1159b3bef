"""What a worker group really did for an assignment, against which the summary's ledger is held."""

from dataclasses import dataclass


@dataclass
class Work:
    """A group of a lane trained a trial from the update `first` to `update`, in these seconds of the simulation."""

    trial_id: str
    lane: str
    workers: int
    ready_at: float
    began_at: float
    until: float
    first: int
    update: int

"""What a study's trials give when nothing happens to them: one process trains them one after another, without a Ray."""

import os
import tempfile
from pathlib import Path
from typing import Any

from cluster.stores import store_of
from cluster.study import axes, spec
from tests.support import processes
from tests.support.runs import ROOT
from trainer.data.manifest import read
from trainer.report import Evaluation, Outcome


def curve(file: Path, folder: Path = ROOT) -> list[tuple[str, int, float]]:
    """The validation loss of each trial of the study at each update, as `tests.support.runs.curve` has them.

    `folder` is where the study's command is called: there a factory is found.
    """
    answered = answers(file, folder)
    return sorted(
        (trial_id, one.update, one.validation_loss) for trial_id, (curve, _) in answered.items() for one in curve
    )


def answers(file: Path, folder: Path = ROOT, *, workers: int = 1) -> dict[str, tuple[list[Evaluation], Outcome]]:
    """The evaluations and the outcome of each trial of the study, by its id."""
    return processes.run(_trained, workers=workers, arguments=(str(file), str(folder)))[0]


def _trained(world: Any, file: str, folder: str) -> dict[str, tuple[list[Evaluation], Outcome]]:
    import sys

    from tests.support import bodies, unhurried
    from trainer.update.collective import Collective
    from trainer.update.shape import Shape
    from trainer.update.update import Learner

    os.chdir(folder)
    sys.path.insert(0, folder)
    unhurried.PAUSE_SECONDS = 0.0
    study = spec.load(file)
    manifest = read(store_of(study.data))
    trials = axes.trials(study, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    learner, found = Learner(Shape.of(trials[0], manifest), Collective(world)), {}
    for trial in trials:
        with tempfile.TemporaryDirectory() as checkpoints:
            found[trial.trial_id] = bodies.trained(learner, study.data, trial, checkpoints)
    return found

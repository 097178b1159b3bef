"""The Keras model of a trial, built in the calling process."""

import os
import sys
from typing import Any

from cluster.process.quiet import import_tensorflow
from trainer.data.manifest import Manifest
from trainer.trial import TrialSpec


def plain_model(trial: TrialSpec, manifest: Manifest) -> Any:
    """The trial's model with its initial weights, for the data set of `manifest`.

    A factory's module is looked up in the folder where the command was called, as for `python -m`. Ray gives its
    workers the same path.

    Raises:
        InputError: a factory's model cannot be used.
    """
    import_tensorflow()
    if trial.model.factory is not None:
        sys.path.insert(0, os.getcwd())
    from trainer.model import model

    return model.build(
        trial.model,
        vocabulary_size=manifest.vocabulary_size,
        outputs=manifest.outputs(trial.task),
        task=trial.task,
        dtype=trial.dtype,
        seed=trial.seed,
        inputs=manifest.inputs,
    )


def training_twin_of(trial: TrialSpec, manifest: Manifest) -> Any:
    """The twin of the trial's model on which training runs.

    Raises:
        InputError: a factory's model cannot be used.
    """
    plain = plain_model(trial, manifest)
    from trainer.model import model

    return model.training_twin(plain)

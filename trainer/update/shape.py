"""The shape of a learner: everything for which it is traced."""

from dataclasses import dataclass

from trainer.data.inputs import TEXT, Inputs
from trainer.data.manifest import Manifest
from trainer.trial import ModelSpec, TrialSpec


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Everything for which a learner is traced: trials with the same shape share one learner."""

    model: ModelSpec
    vocabulary_size: int
    outputs: int
    task: str
    optimizer: str
    dtype: str
    inputs: Inputs = TEXT

    @classmethod
    def of(cls, trial: TrialSpec, manifest: Manifest) -> "Shape":
        """The shape of a trial on the data set of `manifest`."""
        return cls(
            model=trial.model,
            vocabulary_size=manifest.vocabulary_size,
            outputs=manifest.outputs(trial.task),
            task=trial.task,
            optimizer=trial.optimizer,
            dtype=trial.dtype,
            inputs=manifest.inputs,
        )

    @property
    def weights_dtype(self) -> str:
        """The dtype of weights, losses, sums and optimizer state, even if the model computes in half precision."""
        return "float64" if self.dtype == "float64" else "float32"

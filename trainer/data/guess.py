"""The validation loss of guesses that look at no input, from the counts of the labels; in nats for classes."""

import numpy as np
import numpy.typing as npt

from trainer.data.manifest import Manifest


def baseline_loss(manifest: Manifest) -> float | None:
    """The loss of a guess that knows only the labels of the train split; None if it is unknown.

    For classes, the guess is their frequencies; its loss is also unknown if the validation split has a label that the
    train split lacks, which no frequency predicts. For a regression, it is the mean label, with the squared error.
    """
    train, validation = manifest.splits["train"], manifest.splits["validation"]
    if train.label_mean is not None and validation.label_mean is not None and validation.label_variance is not None:
        return validation.label_variance + (validation.label_mean - train.label_mean) ** 2
    guessed, asked = (np.array(split.label_counts, np.float64) for split in (train, validation))
    if not guessed.size or (guessed[asked > 0] == 0).any():
        return None
    return _cross_entropy(asked, guessed)


def best_constant_loss(manifest: Manifest) -> float | None:
    """The loss of the best guess that is the same for all rows; None if it is unknown."""
    validation = manifest.splits["validation"]
    asked = np.array(validation.label_counts, np.float64)
    return _cross_entropy(asked, asked) if asked.size else validation.label_variance


def _cross_entropy(asked: npt.NDArray[np.float64], guessed: npt.NDArray[np.float64]) -> float:
    """The mean loss of labels with the counts `asked`, guessed by the frequencies of the counts `guessed`."""
    present = asked > 0
    return float(-(asked[present] @ np.log(guessed[present] / guessed.sum())) / asked.sum())

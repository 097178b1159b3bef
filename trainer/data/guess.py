"""The validation loss of guesses that look at no input, from what is counted of the labels; for classes in nats."""

import numpy as np
import numpy.typing as npt

from trainer.data.manifest import Manifest


def baseline_loss(manifest: Manifest) -> float | None:
    """The loss of a guess that knows only the labels of the train split; None where it is not known.

    For classes it is a guess by their frequencies, and unknown too where the validation split has a label that the
    train split lacks, which no frequency predicts; for a regression the mean label, as a squared error.
    """
    train, validation = manifest.splits["train"], manifest.splits["validation"]
    if train.label_mean is not None and validation.label_mean is not None and validation.label_variance is not None:
        return validation.label_variance + (validation.label_mean - train.label_mean) ** 2
    known, asked = (np.array(split.label_counts, np.float64) for split in (train, validation))
    if not known.size or (known[asked > 0] == 0).any():
        return None
    return _cross_entropy(asked, known)


def best_constant_loss(manifest: Manifest) -> float | None:
    """The loss of the best guess that is the same for all rows; None where it is not known."""
    validation = manifest.splits["validation"]
    asked = np.array(validation.label_counts, np.float64)
    return _cross_entropy(asked, asked) if asked.size else validation.label_variance


def _cross_entropy(asked: npt.NDArray[np.float64], guessed: npt.NDArray[np.float64]) -> float:
    """The mean loss of labels with the counts `asked` under the frequencies of the counts `guessed`."""
    seen = asked > 0
    return float(-(asked[seen] @ np.log(guessed[seen] / guessed.sum())) / asked.sum())

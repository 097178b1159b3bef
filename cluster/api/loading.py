"""`batchscope.best_model`: a trained model in this process, with its tokenizer and the names of its labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import os

    import tokenizers

    from cluster.summary.store import Summary as Stored


class TrainedModel(NamedTuple):
    """A model as a trial left it.

    >>> model, tokenizer, labels = batchscope.best_model("wiki")
    >>> tokens = numpy.array([text.ids for text in tokenizer.encode_batch(["One text.", "Another, longer text."])])
    >>> [labels[place] for place in model.predict(tokens).argmax(axis=1)]

    `model` is a plain keras.Model with the trial's weights. `tokenizer` pads a batch to its longest text, as the model
    expects; it is None for data of numbers. `labels` are the names of the classes by their number, empty without any.
    """

    model: Any
    tokenizer: "tokenizers.Tokenizer | None"
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model of a study is loaded, from where; the fields are the arguments of `best_model`."""

    trial: str
    at: str
    data: str | None
    factory: str | None


def best_model(
    study: str,
    summary: "str | os.PathLike[str]" = "./summary",
    *,
    trial: str = "best",
    at: str = "best",
    data: str | None = None,
    factory: str | None = None,
) -> TrainedModel:
    """The model with the lowest validation loss of a study: `model, tokenizer, labels = batchscope.best_model("wiki")`.

    It is built again from the trial's spec and given the weights that the trial kept, which are arrays verified by
    their hashes: nothing is unpickled. The lowest of many losses is partly luck; the verdict has what is more.
    If this process has not used TensorFlow yet, the model is built on the CPU, and TensorFlow sees no GPU here.

    Args:
        study: the study's name.
        summary: the folder or `s3://` address of the results.
        trial: another trial, by its id or enough of its first digits.
        at: `initial` for the weights before training, `best` for those at the lowest validation loss, or `last`.
        data: where the prepared data are now, if they were moved.
        factory: agree to run this function, `module:function`, if it builds the model and is not in this folder.

    Raises:
        InputError: there is no such study or trial, it kept no such weights, or its data or factory are gone.
        NotReadyError: a store cannot be read.
    """
    from .summary import Summary

    return Summary(summary).best_model(study, trial=trial, at=at, data=data, factory=factory)


def loaded(stored: "Stored", study: str, choice: ModelChoice) -> TrainedModel:
    """The chosen model of a study. What could not be verified becomes a Python warning."""
    import warnings

    from cluster.exports.found import find
    from cluster.exports.model import model_of, tokenizer_of
    from cluster.process import proxies

    proxies.go_direct()
    found = find(stored, study, choice.trial, data=choice.data)
    remarks: list[str] = []
    model = model_of(found, at=choice.at, factory=choice.factory, note=remarks.append)
    for remark in remarks:
        warnings.warn(remark, stacklevel=3)
    return TrainedModel(model, _tokenizer(tokenizer_of(found)), tuple(found.manifest.label_names))


def _tokenizer(content: bytes | None) -> "tokenizers.Tokenizer | None":
    if content is None:
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.enable_padding()
    return tokenizer

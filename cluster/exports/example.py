"""The few lines of Python that load an exported model and predict with it."""

from cluster.exports.found import FoundTrial
from cluster.exports.model import ModelFiles
from trainer.data.inputs import TOKENS


def example(found: FoundTrial, files: ModelFiles) -> str:
    """Python that loads the files and predicts, with Keras and `tokenizers` alone."""
    inputs = found.manifest.inputs
    answer = {
        "classification": '[about["label_names"][i] for i in outputs.argmax(axis=1)]',
        "regression": "outputs[:, 0]",
        # The most likely token after each text; a softmax of these outputs gives probabilities.
        "language_model": "[tokenizer.decode([row[n].argmax()]) for row, n in zip(outputs, (tokens != 0).sum(1) - 1)]",
    }[found.trial.task]
    if inputs.kind != TOKENS:
        shape = (2, *(5 if size is None else size for size in inputs.shape))
        return f"""\
import json, keras, numpy
model, about = keras.saving.load_model({files.model!r}), json.load(open({files.about!r}))
features = numpy.zeros({shape}, "float32")  # two rows; shorter sequences end in vectors of about["padding"]
outputs = model.predict(features, verbose=0); print({answer})
"""
    return f"""\
import json, keras, numpy, tokenizers
model, about = keras.saving.load_model({files.model!r}), json.load(open({files.about!r}))
tokenizer = tokenizers.Tokenizer.from_file({files.tokenizer!r}); tokenizer.enable_padding()
tokens = numpy.array([text.ids for text in tokenizer.encode_batch(["One text.", "Another, longer text."])])
outputs = model.predict(tokens, verbose=0); print({answer})
"""

"""A small model and its rate, for data that no study asks about yet: it learns short articles in seconds."""

from typing import Any

from trainer.data.inputs import TOKENS
from trainer.data.manifest import Manifest

# The model of `batchscope demo`, at this rate of Adam for this batch size.
SMALL_MODEL = {"embedding_units": 48, "lstm_units": 32, "dropout": 0.3}
RATE, RATE_AT = 0.004, 32


def small_model(manifest: Manifest) -> dict[str, Any]:
    """The spec's `model` for these data; rows of numbers have no embedding."""
    text = manifest.kind == TOKENS
    return {key: value for key, value in SMALL_MODEL.items() if text or key != "embedding_units"}

"""`data_hash`: what identifies a prepared data set in every trial made of it.

It is of the content (task, label names, vocabulary, and each split's tokens, lengths and labels in order; of numbers
instead of text also their kind and width), not of the files' bytes: another pyarrow, another shard size or another
input format gives the same hash. Everything is hashed with its length, so no two contents run into one another.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.inputs import TEXT, Inputs


def data_hash(
    *,
    task: str,
    label_names: Sequence[str],
    vocabulary: Sequence[str],
    splits: Mapping[str, bytes],
    inputs: Inputs = TEXT,
) -> str:
    """The hash, in hexadecimal; `splits` are the digests of `shards.SplitWriter`."""
    content: dict[str, Any] = {
        "task": task,
        "label_names": list(label_names),
        "vocabulary": list(vocabulary),
        "splits": {name: digest.hex() for name, digest in splits.items()},
    }
    if inputs != TEXT:
        content |= {"kind": inputs.kind, "features_width": inputs.width}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

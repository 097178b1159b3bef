"""Texts -> token ids, truncated on the right, as one Arrow list array for each batch."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from cluster.prepare.splits import Hashes, hashes
from trainer.data.manifest import UNKNOWN_ID

# An encoding takes some 150 bytes per token while it exists, so only this much text goes through the tokenizer at once.
ENCODE_CHARACTERS = 2 * 2**20


def dtype_of(vocabulary_size: int) -> str:
    """The smallest unsigned type that holds every id."""
    return "uint16" if vocabulary_size <= 2**16 else "uint32"


def tokenise(tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int, dtype: str) -> tuple[pa.Array, pa.Array]:
    """The tokens of each text, and whether it was longer than `max_tokens`."""
    pieces, lengths = [], []
    for portion in _portions(texts):
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(portion, add_special_tokens=False)]
        lengths += [len(tokens) for tokens in ids]
        pieces += [np.array(tokens[:max_tokens], dtype=dtype) for tokens in ids]
    full_lengths = np.array(lengths, dtype=np.int64)
    offsets = np.zeros(len(full_lengths) + 1, dtype=np.int32)
    np.cumsum(np.minimum(full_lengths, max_tokens), out=offsets[1:])
    flat = np.concatenate(pieces) if pieces else np.zeros(0, dtype=dtype)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)), pa.array(full_lengths > max_tokens)


def sequences(lists: pa.Array, *, split_seed: int) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """The hash of each row's tokens, whatever their type, and whether the row has an unknown token."""
    flat = lists.values.to_numpy().astype("<u4")
    offsets = lists.offsets.to_numpy()
    unknown = np.concatenate([[0], np.cumsum(flat == UNKNOWN_ID)])[offsets]
    rows = (flat[start:stop].tobytes() for start, stop in pairwise(offsets.tolist()))
    return hashes(rows, split_seed=split_seed), np.diff(unknown) > 0


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    characters = 0
    for text in texts:
        portion.append(text)
        characters += len(text)
        if characters >= ENCODE_CHARACTERS:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion

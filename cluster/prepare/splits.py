"""The split of a row, decided by a hash of its key, so that it never depends on order or chance.

Without groups, the key is the text's words (`keys`) or the numbers: no state is needed, and duplicates share a split.
Held-out texts are split once more when they have become tokens (`held_out`). With groups, a row ties its text to its
group; everything tied together, however indirectly, is one component and shares a split.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Splits = npt.NDArray[np.uint8]

# The first 80 % of the 2**64 hashes are train, the next 10 % validation, and the rest test
# (`trainer.data.manifest.SPLITS`).
TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1
_BORDERS = np.array([TRAIN_SHARE * 2.0**64, (TRAIN_SHARE + VALIDATION_SHARE) * 2.0**64], dtype=np.uint64)


def hashes(keys: Iterable[str | bytes], *, split_seed: int) -> Hashes:
    """A 64-bit hash of each key; another `split_seed` gives other hashes."""
    salt = split_seed.to_bytes(8, "little")
    contents = (key.encode() if isinstance(key, str) else key for key in keys)
    digests = [hashlib.blake2b(content, digest_size=8, salt=salt).digest() for content in contents]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64, copy=False)


def by_hash(values: Hashes) -> Splits:
    """The split of each hash: 0 train, 1 validation, 2 test."""
    return np.searchsorted(_BORDERS, values, side="right").astype(np.uint8)


def halves(values: Hashes) -> Splits:
    """The split of each hash of a held-out row: 1 validation, 2 test."""
    border = np.uint64(2.0**64 * VALIDATION_SHARE / (1 - TRAIN_SHARE))
    return np.where(values < border, 1, 2).astype(np.uint8)


def by_component(text_hashes: Hashes, group_hashes: Hashes, *, split_seed: int) -> Splits:
    """The split of each row if rows that share a text or a group must share a split."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(text_hashes):
        return np.zeros(0, dtype=np.uint8)
    texts, text_of_row = np.unique(text_hashes, return_inverse=True)
    groups, group_of_row = np.unique(group_hashes, return_inverse=True)
    nodes = len(texts) + len(groups)
    ties = (
        np.ones(len(text_of_row), dtype=np.bool_),
        (text_of_row, group_of_row + len(texts)),
    )
    count, component_of_node = connected_components(coo_array(ties, shape=(nodes, nodes)), directed=False)
    smallest = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, component_of_node[len(texts) :], groups)
    # The smallest of many hashes is small, so it is hashed again; otherwise large components would all be train.
    again = hashes((str(value) for value in smallest.tolist()), split_seed=split_seed)
    splits: Splits = by_hash(again)[component_of_node[text_of_row]]
    return splits

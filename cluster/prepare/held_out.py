"""Which of the held-out texts are for validation, and which for the test.

If the words decided, two texts that differ only outside the vocabulary, and so are the same to the model, could end up
in both splits. So the hash of their tokens decides, once the vocabulary is known. If the first texts all have the same
tokens, or are so few that one of the splits would stay empty, the hash of the words decides after all, and `repeats`
counts the consequences.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from cluster.prepare.splits import Hashes, Splits, halves

# The most held-out texts that are read before it is decided whether their tokens fill both splits.
MOST_AWAITED = 4096

# Rows as they are written to shards, and the split of each by its words (or groups) and by its tokens if these may
# decide.
Given = tuple[pa.Table, Splits, Splits | None]


def by_tokens(splits: Splits, sequences: Hashes) -> Splits:
    """The same splits, except that the hash of the tokens decides for held-out rows."""
    return np.where(splits == 0, splits, halves(sequences))


def settled(given: Iterator[Given]) -> Iterator[tuple[pa.Table, Splits]]:
    """The rows in their order with the split of each, however they are batched."""
    waiting: list[Given] = []
    tokens_decide: bool | None = None
    for rows in given:
        waiting.append(rows)
        if tokens_decide is None:
            tokens_decide = _tokens_decide(waiting)
        if tokens_decide is not None:
            yield from _decided(waiting, tokens_decide)
            waiting = []
    yield from _decided(waiting, False)


def _tokens_decide(waiting: list[Given]) -> bool | None:
    """Whether tokens decide; None while that is open."""
    if any(tokens is None for _, _, tokens in waiting):
        return False
    held = np.concatenate([tokens[words > 0] for _, words, tokens in waiting if tokens is not None])
    if {1, 2} <= set(held[:MOST_AWAITED].tolist()):
        return True
    return False if len(held) >= MOST_AWAITED else None


def _decided(waiting: list[Given], tokens_decide: bool) -> Iterator[tuple[pa.Table, Splits]]:
    for table, words, tokens in waiting:
        yield table, tokens if tokens_decide and tokens is not None else words

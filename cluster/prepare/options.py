"""The options of `prepare`: which go together and within which bounds, checked before anything is read."""

from cluster.prepare.batches import Columns
from cluster.prepare.labels import CLASSIFICATION, REGRESSION
from cluster.prepare.vocabulary import WORDS
from trainer.data.manifest import LANGUAGE_MODEL
from trainer.errors import InputError, brief

# A shard's offsets are signed integers of 32 bits.
MOST_TOKENS = 2**31 - 1
# Each word of the vocabulary takes some 200 bytes of memory, and a row of the model's embedding.
MOST_WORDS = 10_000_000


def check_columns(columns: Columns, task: str | None, *, skip_empty: bool, tokenizer: str) -> None:
    """Refuse columns that do not go together, or do not go with the task.

    Raises:
        InputError: with these options, there is nothing to learn, or nothing to learn from.
    """
    text, features, label = columns.text, columns.features, columns.label
    if (text is None) == (features is None):
        raise InputError(
            "--text and --features are both given: name only the column to learn from"
            if text is not None
            else "neither --text nor --features is given: name the column with the text, or with the numbers"
        )
    if task not in (None, CLASSIFICATION, REGRESSION, LANGUAGE_MODEL):
        raise InputError(f"--task is {task!r}: use {CLASSIFICATION}, {REGRESSION} or {LANGUAGE_MODEL}")
    if task == LANGUAGE_MODEL and features is not None:
        raise InputError(f"--task {LANGUAGE_MODEL} learns text: name it with --text instead of --features")
    if task == LANGUAGE_MODEL and label is not None:
        raise InputError(f"--task {LANGUAGE_MODEL} has no labels: leave --label {label} out")
    if task != LANGUAGE_MODEL and label is None:
        raise InputError(f"--label is not given: name the column with the label, or use --task {LANGUAGE_MODEL}")
    if label is not None and label in (text, features):
        option = "--text" if features is None else "--features"
        raise InputError(f"{option} and --label both name the column {label!r}: name two different columns")
    if skip_empty and features is not None:
        raise InputError("--skip-empty is for texts: leave it out, and drop rows without numbers from the source")
    if tokenizer != WORDS and features is not None:
        raise InputError(f"--tokenizer {tokenizer} is for texts: leave it out, numbers have no tokens")


def check_options(max_tokens: int, split_seed: int) -> None:
    """Refuse numbers that cannot be used.

    Raises:
        InputError: one is too small or too large.
    """
    if not 1 <= max_tokens <= MOST_TOKENS:
        raise InputError(f"--max-tokens is {brief(str(max_tokens))}: use 1 or more, and at most {MOST_TOKENS:,}")
    if not 0 <= split_seed < 2**63:
        raise InputError(f"--split-seed is {brief(str(split_seed))}: use a whole number from 0 to {2**63 - 1}")


def check_vocabulary(size: int) -> None:
    """Refuse a number of words that cannot be used.

    Raises:
        InputError: it is too small or too large.
    """
    if not 3 <= size <= MOST_WORDS:
        raise InputError(
            f"--vocabulary is {brief(str(size))}: use 3 or more (two ids are padding and unknown), and at most "
            f"{MOST_WORDS:,}"
        )

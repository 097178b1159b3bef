"""What a text's tokens are: its words, its characters, its bytes, or what a tokenizer file of Hugging Face makes of it.

Whatever it is, padding has the id 0 and the unknown token the id 1, so the rest of batchscope need not know which.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from cluster.prepare.options import MOST_WORDS, check_vocabulary
from cluster.prepare.vocabulary import CHARACTERS, PADDING, UNKNOWN, WORDS
from trainer.data.manifest import PADDING_ID, UNKNOWN_ID
from trainer.errors import InputError, brief

BYTES = "bytes"
DEFAULT_VOCABULARY = 20_000
MOST_BYTES = 512 * 2**20
# What a file may call its padding, and a name that no text contains, with a character for private use: where a text has
# the file's own name for it, that is read like any other word.
_PADDINGS = (PADDING, "<pad>", "<|pad|>")
_NO_TEXT = f"\ue000{PADDING}"


@dataclass(frozen=True, kw_only=True)
class Tokenizing:
    """How texts are cut: into the `vocabulary` most frequent of their `parts` (words or characters), or as `ready` is.

    `parts` is None where a tokenizer is `ready`.
    """

    parts: str | None
    vocabulary: int
    ready: Tokenizer | None = None


def chosen(tokenizer: str, vocabulary: int | None) -> Tokenizing:
    """What was asked for with `--tokenizer` and `--vocabulary`; None for the latter is its default.

    Raises:
        InputError: they do not go together, or the file is not a tokenizer.
    """
    if tokenizer in (WORDS, CHARACTERS):
        size = DEFAULT_VOCABULARY if vocabulary is None else vocabulary
        check_vocabulary(size)
        return Tokenizing(parts=tokenizer, vocabulary=size)
    if vocabulary is not None:
        raise InputError(
            f"--vocabulary is {brief(str(vocabulary))}, but --tokenizer {tokenizer} has a vocabulary of its own: leave "
            "--vocabulary out"
        )
    ready = _of_bytes() if tokenizer == BYTES else _of_file(tokenizer)
    return Tokenizing(parts=None, vocabulary=ready.get_vocab_size(), ready=ready)


def _of_bytes() -> Tokenizer:
    """Each byte of a text in UTF-8 is a token, as GPT-2 writes bytes, so no text has anything unknown."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {PADDING: PADDING_ID, UNKNOWN: UNKNOWN_ID}
    ids.update((letter, number) for number, letter in enumerate(letters, start=len(ids)))
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _of_file(name: str) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, with padding and the unknown token at their ids and the others in order.

    Raises:
        InputError: there is no such file, or it is not such a tokenizer.
    """
    choices = f"give {WORDS}, {CHARACTERS}, {BYTES}, or the tokenizer.json of a tokenizer of Hugging Face"
    file = Path(name).expanduser()
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"--tokenizer {name} has more than {MOST_BYTES:,} bytes: {choices}")
        found = json.loads(file.read_text(encoding="utf-8"))
        before = Tokenizer.from_str(json.dumps(found))
        after = Tokenizer.from_str(json.dumps(_renumbered(found, before)))
    except OSError as problem:
        raise InputError(f"--tokenizer {name} cannot be read ({problem.strerror}): {choices}") from None
    except InputError:
        raise
    except Exception as problem:  # noqa: BLE001 - which is what the library raises
        raise InputError(f"--tokenizer {name} is not a tokenizer ({brief(str(problem))}): {choices}") from None
    if not _is_as_meant(before, after):
        raise InputError(f"--tokenizer {name} gives its tokens ids that cannot be moved: {choices}")
    return after


def _renumbered(found: Mapping[str, Any], before: Tokenizer) -> dict[str, Any]:
    """The file's content with the ids of this house; nothing is added to a text, and nothing is cut or padded."""
    model, old = dict(found["model"]), before.get_vocab(with_added_tokens=True)
    if not 1 <= len(old) <= MOST_WORDS:
        raise ValueError(f"it has {len(old):,} tokens, use one with at most {MOST_WORDS:,}")
    # Unigram's vocabulary is a list of tokens with their scores, whose order is their ids; the others map them to ids.
    known, unknown = dict(model["vocab"]), _unknown(model, old)
    others = [token for token in old if token not in (*_PADDINGS, unknown)]
    # What is added to a model's own vocabulary comes after it.
    others.sort(key=lambda token: (token not in known, int(old[token])))
    ids = {token: number for number, token in enumerate([_NO_TEXT, unknown, *others])}
    own = [token for token in ids if token in known or token in (_NO_TEXT, unknown)]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {token: ids[token] for token in own}
    else:
        lowest = min(known.values(), default=0.0)
        model |= {"vocab": [[token, known.get(token, lowest)] for token in own], "unk_id": UNKNOWN_ID}
    added = {one["content"]: one for one in found.get("added_tokens") or []}
    tokens = [{**added[token], "id": ids[token]} for token in ids if token in added]
    return {
        **found,
        "model": model,
        "added_tokens": tokens,
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }


def _unknown(model: Mapping[str, Any], old: Mapping[str, int]) -> str:
    """The token for what the vocabulary lacks; one that no text has, where there is no such thing."""
    if model.get("unk_token"):
        return str(model["unk_token"])
    if model.get("unk_id") is not None:
        return str(model["vocab"][model["unk_id"]][0])
    return next((token for token in (UNKNOWN, "<unk>") if token in old), UNKNOWN)


def _is_as_meant(before: Tokenizer, after: Tokenizer) -> bool:
    """Whether the ids of `after` have no gap, begin with padding and the unknown token, and lack none of `before`."""
    ids = after.get_vocab(with_added_tokens=True)
    kept = set(before.get_vocab(with_added_tokens=True)) - set(_PADDINGS)
    return sorted(ids.values()) == list(range(len(ids))) and ids[_NO_TEXT] == PADDING_ID and kept <= set(ids)

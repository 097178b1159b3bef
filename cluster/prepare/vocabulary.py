"""The words or characters of the train split, and the tokenizer made from them (Hugging Face `tokenizers`).

The library's own trainer counts words in parallel, a window of texts at a time, and its counts are merged here. One
training over all texts would need no merging, but would hold every distinct word of the input (a number, a misspelling)
in memory; here the rarest words are forgotten when there are too many. Each file is counted by itself and the files are
merged in their order, so it does not matter where they are counted.

Some scripts put no spaces between words: each of their characters is a token, as in BERT. Whole clauses would be words
that no other text has, and nearly all of validation would be unknown.
"""

import json
import os
from collections.abc import Iterable

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded, whatever later versions of tokenizers do
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # set explicitly, so that a later fork prints no warning

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from trainer.data.manifest import PADDING_ID, UNKNOWN_ID

PADDING, UNKNOWN = "[PAD]", "[UNK]"
# What a text may be cut into here.
WORDS, CHARACTERS = "words", "characters"
WINDOW_ROWS = 50_000
WINDOW_CHARACTERS = 16 * 2**20
MOST_WORDS = 2_000_000

_SCRIPTS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_CHARACTERS = pre_tokenizers.Split(Regex(f"[{_SCRIPTS}]"), "isolated")
_WORDS = pre_tokenizers.Whitespace()
_WORDS_AND_CHARACTERS = pre_tokenizers.Sequence([_CHARACTERS, _WORDS])
# Spaces and line ends are characters too.
_EACH_CHARACTER = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")

Words = dict[str, int]


def count_words(texts: Iterable[str], words: Words, *, parts: str = WORDS, most_words: int = MOST_WORDS) -> None:
    """Add the `parts` of `texts` to `words`. Windows are cut by row, so batches do not change the result."""
    window: list[str] = []
    characters = 0
    for text in texts:
        window.append(text)
        characters += len(text)
        if len(window) == WINDOW_ROWS or characters >= WINDOW_CHARACTERS:
            merge(words, _counted(window, parts), most_words=most_words)
            window, characters = [], 0
    merge(words, _counted(window, parts), most_words=most_words)


def merge(words: Words, more: Words, *, most_words: int = MOST_WORDS) -> None:
    """Add the words of other texts to `words`, then forget the rarest if there are too many."""
    for word, count in more.items():
        words[word] = words.get(word, 0) + count
    rarest = 0
    while len(words) > most_words:
        rarest += 1
        for word in [word for word, count in words.items() if count <= rarest]:
            del words[word]


def _counted(window: list[str], parts: str) -> Words:
    trainer = trainers.WordLevelTrainer(vocab_size=0, special_tokens=[], show_progress=False)
    tokenizer_of({UNKNOWN: 0}, parts).train_from_iterator(window, trainer)
    # The trainer has no accessor for its counts; its state (as pickle would save it) is JSON that contains them.
    counts: Words = json.loads(trainer.__getstate__())["WordLevelTrainer"]["words"]
    return counts


def build(words: Words, *, size: int, parts: str = WORDS) -> Tokenizer:
    """The tokenizer of the `size` - 2 most frequent words; ties are sorted alphabetically, so it is always the same."""
    chosen = sorted(words.items(), key=lambda item: (-item[1], item[0]))[: size - 2]
    ids = {PADDING: PADDING_ID, UNKNOWN: UNKNOWN_ID}
    ids.update((word, index) for index, (word, _) in enumerate(chosen, start=len(ids)))
    # The two special tokens are not registered as such: a text that contains "[PAD]" means three ordinary tokens.
    tokenizer = tokenizer_of(ids, parts)
    if parts == WORDS and not any(map(_is_character, ids)):
        # A vocabulary without such scripts keeps the tokenizer, and so the `data_hash`, that it had before them.
        tokenizer.pre_tokenizer = _WORDS
    return tokenizer


def names(tokenizer: Tokenizer) -> list[str]:
    """The tokens in the order of their ids."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(ids, key=lambda token: int(ids[token]))


def to_json(tokenizer: Tokenizer, *, max_tokens: int) -> str:
    """The text of `tokenizer.json`, which truncates texts like the shards."""
    tokenizer.enable_truncation(max_tokens)
    text = str(tokenizer.to_str(pretty=True))
    tokenizer.no_truncation()
    return text


def tokenizer_of(ids: dict[str, int], parts: str = WORDS) -> Tokenizer:
    """The tokenizer with these words, or characters."""
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = _WORDS_AND_CHARACTERS if parts == WORDS else _EACH_CHARACTER
    return tokenizer


def _is_character(word: str) -> bool:
    """Whether a word is a single character of one of the scripts."""
    return len(word) == 1 and not word.isascii() and len(_CHARACTERS.pre_tokenize_str(f"-{word}")) > 1

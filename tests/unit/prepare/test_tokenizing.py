"""What a token is: characters, bytes and files of other tokenizers keep their promise, and nothing is padding but 0."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from cluster.cli.prepare import command
from cluster.prepare import prepare
from cluster.prepare.tokenizing import chosen
from trainer.data.manifest import Manifest
from trainer.errors import InputError

TEXTS = ["The cat sat on the mat.", "A dog — naïve — barked!\nTwice.", "[PAD] and <pad> are words here", "数 学 1234"]


def of_words() -> Tokenizer:
    """As BERT: pieces of words, with special tokens that a template puts around each text."""
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"]
    found.train_from_iterator(TEXTS * 3, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special))
    found.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)])
    found.enable_truncation(4)
    found.enable_padding(length=7)
    return found


def of_bytes() -> Tokenizer:
    """As GPT-2: pairs of bytes, without padding or an unknown token, and with tokens that were added later."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet))
    found.add_special_tokens(["<|endoftext|>"])
    found.add_tokens(["naïve"])
    return found


def of_scores() -> Tokenizer:
    """As T5: pieces with scores, of which the best are taken, and padding that a text could contain."""
    found = Tokenizer(models.Unigram())
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>")
    found.train_from_iterator(TEXTS * 3, trainer)
    return found


@pytest.mark.parametrize("make", [of_words, of_bytes, of_scores])
def test_a_tokenizers_file_cuts_texts_as_before_and_only_its_ids_are_ours(
    tmp_path: Path, make: Callable[[], Tokenizer]
) -> None:
    before, file = make(), tmp_path / "tokenizer.json"
    before.save(str(file))
    found = chosen(str(file), None)
    after = found.ready
    assert after is not None
    before.no_truncation()
    before.no_padding()
    paddings = {"[PAD]", "<pad>"}
    for text in [*TEXTS, "unseen ☃ words <|endoftext|>"]:
        expected, encoded = before.encode(text, add_special_tokens=False), after.encode(text)
        if not paddings & set(expected.tokens):
            assert encoded.tokens == expected.tokens, text
            assert encoded.offsets == expected.offsets
        assert 0 not in encoded.ids
        assert not paddings & set(encoded.tokens)
    ids = after.get_vocab(with_added_tokens=True)
    assert sorted(ids.values()) == list(range(found.vocabulary))
    assert set(before.get_vocab(with_added_tokens=True)) - paddings <= set(ids)


def test_what_a_file_does_not_know_has_the_unknown_id(tmp_path: Path) -> None:
    of_words().save(str(tmp_path / "tokenizer.json"))
    ready = chosen(str(tmp_path / "tokenizer.json"), None).ready
    assert ready is not None
    assert ready.encode("☃").ids == [1]


def test_nothing_is_unknown_to_bytes_and_each_is_a_token() -> None:
    found = chosen("bytes", None)
    assert found.ready is not None
    assert found.vocabulary == 258
    for text in TEXTS:
        encoded = found.ready.encode(text)
        assert len(encoded.ids) == len(text.encode())
        assert min(encoded.ids) > 1
        assert found.ready.decode(encoded.ids) == text


def prepared(tmp_path: Path, tokenizer: str, **options: int) -> tuple[Manifest, Tokenizer, list[int]]:
    """The manifest, the tokenizer as it is written, and the ids of the first row of training."""
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(list("aé股\n b"), 30)) for _ in range(200)]
    table = pa.table({"text": texts, "label": ["x", "y"] * 100})
    pq.write_table(table, tmp_path / "a.parquet")
    dest = tmp_path / f"out-{Path(tokenizer).name}"
    manifest = prepare(
        [str(tmp_path / "a.parquet")], str(dest), text="text", label="label", tokenizer=tokenizer, **options
    )
    first = pq.read_table(dest / "train-00000.parquet").slice(0, 1).to_pydict()
    written = Tokenizer.from_file(str(dest / "tokenizer.json"))
    assert written.encode(texts[first["row"][0]]).ids == first["tokens"][0]
    return manifest, written, first["tokens"][0]


def test_a_data_set_of_characters_has_each_of_them_even_spaces(tmp_path: Path) -> None:
    manifest, written, ids = prepared(tmp_path, "characters")
    assert len(ids) == 30
    assert set(written.get_vocab()) == {"[PAD]", "[UNK]", "a", "é", "股", "\n", " ", "b"}
    assert manifest.splits["validation"].unknown_tokens == 0
    assert prepared(tmp_path / ".", "words")[0].data_hash != manifest.data_hash


def test_the_rarest_characters_are_left_out_beyond_the_vocabulary(tmp_path: Path) -> None:
    manifest, _, _ = prepared(tmp_path, "characters", vocabulary=4)
    assert manifest.vocabulary_size == 4
    assert manifest.splits["train"].unknown_tokens > 0


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_a_data_set_of_a_ready_tokenizer_is_written_with_it(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        of_bytes().save(str(tmp_path / "tokenizer.json"))
    manifest, written, _ = prepared(tmp_path, str(tmp_path / "tokenizer.json") if kind == "file" else kind)
    assert manifest.vocabulary_size == written.get_vocab_size()
    assert {split.unknown_tokens for split in manifest.splits.values()} == {0}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"cannot be read \(No such file or directory\): give words, characters, bytes, or the tokenizer.json"),
        ("{", "is not a tokenizer"),
        ("[]", "is not a tokenizer"),
        ('{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "is not a tokenizer"),
        (json.dumps({"version": "1.0", "model": {"type": "WordLevel", "vocab": [], "unk_token": "a"}}), "is not a"),
    ],
)
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "file.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=said):
        chosen(str(file), None)


def test_a_size_is_only_for_what_is_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--vocabulary is 300, but --tokenizer bytes has a vocabulary of its own"):
        chosen("bytes", 300)
    with pytest.raises(InputError, match="--vocabulary is 2: use 3 or more"):
        chosen("characters", 2)
    assert (chosen("words", None).vocabulary, chosen("characters", 7).vocabulary) == (20_000, 7)


def test_the_command_takes_it_and_names_the_remedy(tmp_path: Path) -> None:
    table = pa.table({"text": [f"a{number}" for number in range(60)], "label": ["x", "y"] * 30})
    pq.write_table(table, tmp_path / "a.parquet")
    common = [str(tmp_path / "a.parquet")]
    columns = ["--text", "text", "--label", "label"]
    words = CliRunner().invoke(command, [*common, str(tmp_path / "w"), *columns])
    assert "give --tokenizer characters" in words.stderr
    characters = CliRunner().invoke(command, [*common, str(tmp_path / "c"), *columns, "--tokenizer", "characters"])
    assert (characters.exit_code, "warning" in characters.stderr) == (0, False)

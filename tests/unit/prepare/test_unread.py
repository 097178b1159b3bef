"""Texts that a tokenizer of words cannot read: scripts without spaces, and vocabularies that lack most words."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cluster.cli.prepare import command
from cluster.prepare.vocabulary import build
from trainer.data.manifest import Manifest, read
from trainer.data.store import Folder

# Words of scripts that put no spaces between them.
UNSPACED = {
    "chinese": "股票 市场 银行 利率 比赛 球队 教练 冠军",
    "japanese": "カタカナ ひらがな 漢字 学校 先生",
    "thai": "ฟุตบอล นักเตะ ธนาคาร ตลาด",
    "khmer": "ភាសា ខ្មែរ សាលា",
}


def prepared(tmp_path: Path, texts: list[str], *options: str) -> Result:
    source = tmp_path / "a.jsonl"
    source.write_text("".join(json.dumps({"body": text, "topic": i % 2}) + "\n" for i, text in enumerate(texts)))
    given = [str(source), str(tmp_path / "out"), "--text", "body", "--label", "topic", *options]
    result = CliRunner().invoke(command, given, catch_exceptions=False)
    assert result.exit_code == 0
    return result


def manifest_of(tmp_path: Path) -> Manifest:
    return read(Folder(str(tmp_path / "out")))


@pytest.mark.parametrize("script", UNSPACED)
def test_a_script_without_spaces_is_read_by_its_characters(tmp_path: Path, script: str) -> None:
    draw, words = np.random.default_rng(0), UNSPACED[script].split()
    result = prepared(tmp_path, ["".join(draw.choice(words, 9)) for _ in range(300)])
    validation = manifest_of(tmp_path).splits["validation"]
    assert validation.unknown_tokens == 0
    assert validation.tokens / validation.rows > 15
    assert result.stderr == ""


def test_a_vocabulary_of_words_keeps_its_tokenizer() -> None:
    assert json.loads(build({"a": 2, "é": 1}, size=9).to_str())["pre_tokenizer"] == {"type": "Whitespace"}
    assert json.loads(build({"a": 2, "股": 1}, size=9).to_str())["pre_tokenizer"]["type"] == "Sequence"


def test_texts_of_which_most_is_unknown_are_said_with_the_remedy(tmp_path: Path) -> None:
    texts = [f"only{2 * number} only{2 * number + 1} is" for number in range(200)]
    result = prepared(tmp_path, texts)
    (vocabulary,) = [line for line in result.stdout.splitlines() if line.startswith("vocabulary")]
    assert vocabulary.endswith("not in it: 0.0% of train, 66.7% of validation, 66.7% of test")
    assert result.stderr.splitlines() == [
        f"warning: 67% of the {name} tokens are not in the vocabulary, so they cannot be read: "
        "prepare more texts, or give --tokenizer characters"
        for name in ("validation", "test")
    ]


def test_a_vocabulary_that_is_full_is_to_be_raised(tmp_path: Path) -> None:
    result = prepared(tmp_path, [f"w{number % 40} w{number % 41}" for number in range(200)], "--vocabulary", "5")
    assert {line.rpartition(": ")[2] for line in result.stderr.splitlines()} == {
        "raise --vocabulary 5, or give --tokenizer characters"
    }

"""`batchscope prepare`: articles -> a prepared data set, and a summary of it."""

import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.answering import put, text_or_json
from cluster.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.prepare.reading import WhatWasRead
    from trainer.data.manifest import Manifest, Split

# From this share of unknown tokens on, a study would compare models that see little of the texts.
MUCH_UNKNOWN = 0.25


@click.command("prepare")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("dest")
@click.option("--text", metavar="COLUMN", help="The column with the text.")
@click.option(
    "--features",
    metavar="COLUMN[,..]",
    help="Instead of --text, a column of number lists, or lists of those; or columns of one number: a,b,c or 'x*'.",
)
@click.option("--label", metavar="COLUMN", help="The column with the label; omit it for --task language_model.")
@click.option("--group-by", metavar="COLUMN", help="Keep rows that share a value of this column in one split.")
@click.option("--max-tokens", default=200, show_default=True, help="Longer rows are cut on the right.")
@click.option("--vocabulary", type=int, help="Words kept, from the train split only.  [default: 20000]")
@click.option(
    "--tokenizer",
    default="words",
    show_default=True,
    metavar="T",
    help="What a token is: words, characters, bytes, or the tokenizer.json of a tokenizer of Hugging Face.",
)
@click.option(
    "--task",
    type=click.Choice(["classification", "regression", "language_model"]),
    help="What the label is.  [default: floats are regression, anything else classification]",
)
@click.option("--skip-empty", is_flag=True, help="Leave out empty texts instead of refusing them.")
@click.option("--skip-unlabelled", is_flag=True, help="Leave out rows without a label instead of refusing them.")
@click.option("--delimiter", metavar="C", help="Between fields of CSV: ';' or tab.  [default: found by the columns]")
@click.option("--encoding", metavar="E", help="Of CSV and JSONL: cp1252, utf-16.  [default: UTF-8, or by its mark]")
@click.option("--split-seed", default=0, show_default=True, help="Another seed gives other splits.")
@click.option(
    "--address",
    metavar="A",
    help="Read and tokenise many files on Ray: auto or host:port of a cluster whose machines can all read "
    "SOURCE, or local. The data set is the same.",
)
@text_or_json
def command(
    sources: tuple[str, ...],
    dest: str,
    text: str | None,
    features: str | None,
    label: str | None,
    group_by: str | None,
    max_tokens: int,
    vocabulary: int | None,
    tokenizer: str,
    task: str | None,
    skip_empty: bool,
    skip_unlabelled: bool,
    delimiter: str | None,
    encoding: str | None,
    split_seed: int,
    address: str | None,
    form: str,
) -> None:
    """Read articles and write a prepared data set to DEST.

    SOURCE is a Parquet, JSONL or CSV file, a folder of them, or an s3:// address; DEST is a new folder or s3://
    address. A hash of the words or numbers puts 80 % of the rows into training, 10 % into validation and 10 % into the
    test. Duplicates are always in one split, even if case, spacing or the form of characters differs.
    """
    from cluster.prepare import bar, prepare
    from cluster.prepare.reading import WhatWasRead
    from cluster.report import what_was_read

    reads: list[WhatWasRead] = []
    started = time.monotonic()
    with bar() as progress:
        manifest = prepare(
            sources,
            dest,
            text=text,
            label=label,
            features=features,
            group_by=group_by,
            max_tokens=max_tokens,
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            task=task,
            skip_empty=skip_empty,
            skip_unlabelled=skip_unlabelled,
            delimiter=delimiter,
            encoding=encoding,
            split_seed=split_seed,
            address=address,
            progress=progress,
            on_read=reads.append,
        )
    seconds = time.monotonic() - started
    doubts = [*what_was_read.doubts(manifest), *warnings(manifest, vocabulary=vocabulary, tokenizer=tokenizer)]
    put(form, _lines(manifest, dest, reads, seconds), **_fields(manifest, dest, reads, seconds), warnings=doubts)
    for doubt in doubts:
        click.echo(f"warning: {plain(doubt)}", err=True)


def _lines(manifest: "Manifest", dest: str, reads: "Sequence[WhatWasRead]", seconds: float) -> list[str]:
    """What was read and written, for a person."""
    from cluster.report import what_was_read

    of_reads = [f"{name:<12}{value}" for read in reads for name, value in what_was_read.facts(read).items() if value]
    *described, following = summary(manifest, dest, seconds=seconds)
    classes = what_was_read.classes(manifest)
    return [plain(line) for line in (*of_reads, *described, *(["", *classes, ""] if classes else []), following)]


def _fields(manifest: "Manifest", dest: str, reads: "Sequence[WhatWasRead]", seconds: float) -> dict[str, Any]:
    """The same for a program."""
    return {
        "dest": dest,
        "task": manifest.task,
        "kind": manifest.kind,
        "data_hash": manifest.data_hash,
        "rows": {name: split.rows for name, split in manifest.splits.items()},
        "label_names": manifest.label_names,
        "vocabulary_size": manifest.vocabulary_size,
        "max_tokens": manifest.max_tokens,
        "unknown_tokens": {name: _unknown(split) for name, split in manifest.splits.items()},
        "seconds": seconds,
        "read": [
            {
                "rows": read.rows,
                "files": read.files,
                "format": read.format,
                "delimiters": read.delimiters,
                "encodings": read.encodings,
                "left_out": {kind: count for kind, (count, _) in read.faults.items()},
                "duplicates": read.duplicates,
            }
            for read in reads
        ],
    }


def summary(manifest: "Manifest", dest: str, *, seconds: float) -> list[str]:
    """The aligned lines that describe what was written and what to type next."""
    from trainer.data.inputs import TOKENS, VECTORS

    train = manifest.splits["train"]
    rows = sum(split.rows for split in manifest.splits.values())
    p50, p90, p99 = train.length_percentiles
    text, unit = manifest.kind == TOKENS, "tokens" if manifest.kind == TOKENS else "vectors"
    facts = {
        "prepared": dest,
        "rows": ", ".join(f"{split.rows:,} {name}" for name, split in manifest.splits.items()),
        "labels": _labels(manifest),
        "features": "" if text else f"{manifest.kind} of {manifest.features_width:,} numbers",
        "vocabulary": f"{manifest.vocabulary_size:,} tokens; not in it: "
        + ", ".join(f"{_unknown(split):.1%} of {name}" for name, split in manifest.splits.items())
        if text
        else "",
        "lengths": ""
        if manifest.kind == VECTORS
        else f"p50 {p50}, p90 {p90}, p99 {p99} {unit}; "
        f"{train.truncated_rows / train.rows:.1%} of the rows cut at {manifest.max_tokens}",
        "repeated": f"{repeated:,} rows of validation and test differ from a row of an earlier split only in words "
        "outside the vocabulary"
        if (repeated := sum(split.repeated_rows for split in manifest.splits.values()))
        else "",
        "data_hash": manifest.data_hash,
        "time": f"{seconds:.1f} s, {rows / seconds:,.0f} {'articles' if text else 'rows'}/s",
        "next": f"batchscope init {shlex.quote(dest)}   # a first study of about three minutes",
    }
    return [f"{name:<12}{value}" for name, value in facts.items() if value]


def warnings(manifest: "Manifest", *, vocabulary: int | None, tokenizer: str) -> list[str]:
    """A line for each split of which the model would see too little; the others are the options that were given."""
    from cluster.prepare.tokenizing import DEFAULT_VOCABULARY

    most = DEFAULT_VOCABULARY if vocabulary is None else vocabulary
    if tokenizer == "words":
        more = f"raise --vocabulary {most}" if manifest.vocabulary_size >= most else "prepare more texts"
        remedy = f"{more}, or give --tokenizer characters"
    else:
        remedy = "give --tokenizer bytes, to which nothing is unknown"
    return [
        f"{_unknown(split):.0%} of the {name} tokens are not in the vocabulary, so they cannot be read: {remedy}"
        for name, split in manifest.splits.items()
        if _unknown(split) >= MUCH_UNKNOWN
    ]


def _unknown(split: "Split") -> float:
    """The share of a split's tokens that are not in the vocabulary."""
    return split.unknown_tokens / max(1, split.tokens)


def _labels(manifest: "Manifest") -> str:
    from trainer.data.manifest import LANGUAGE_MODEL

    if manifest.task == LANGUAGE_MODEL:
        return "none (language model)"
    if not manifest.label_names:
        return "a number (regression)"
    counts = dict(zip(manifest.label_names, manifest.splits["train"].label_counts, strict=True))
    largest = sorted(counts, key=lambda name: -counts[name])[:3]
    named = ", ".join(f"{name} {counts[name] / sum(counts.values()):.0%}" for name in largest)
    return f"{len(counts)}; {'largest in train: ' if len(counts) > 3 else 'in train: '}{named}"

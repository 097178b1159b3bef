"""What `prepare` read, as aligned lines: files and their form, rows left out, duplicates, classes, and doubts."""

from collections.abc import Sequence

from cluster.analysis.counted import counted
from cluster.prepare.faults import EMPTY_TEXT, UNLABELLED
from cluster.prepare.reading import WhatWasRead
from cluster.prepare.text_form import USUAL_DELIMITER, delimiter_name
from trainer.data.manifest import SPLITS, Manifest
from trainer.errors import brief

_NAMES = {"parquet": "Parquet", "jsonl": "JSONL", "csv": "CSV", "tsv": "TSV"}
_LEFT_OUT = {EMPTY_TEXT: "with an empty text", UNLABELLED: "without a label"}
# Labels that mostly stand for none.
_NO_LABEL = {
    "n/a",
    "na",
    "none",
    "null",
    "nan",
    "nil",
    "-",
    "--",
    "?",
    "unknown",
    "undefined",
    "missing",
    "#n/a",
    "tbd",
}
MOST_CLASSES, LONGEST_NAME = 20, 40


def facts(read: WhatWasRead) -> dict[str, str]:
    """What was read, what was left out and why, and what is there twice, by the word at the line's beginning."""
    left_out = [f"{read.faults[kind][0]:,} {text}" for kind, text in _LEFT_OUT.items() if kind in read.faults]
    twice = f"{read.duplicates:,} rows repeat an earlier one; they are kept, all in the split of the first"
    return {
        "read": f"{counted(read.rows, 'row')} of {counted(read.files, _NAMES[read.format] + ' file')}{_form(read)}",
        "left out": f"{', '.join(left_out)}" if left_out else "",
        "duplicates": twice if read.duplicates else "",
    }


def _form(read: WhatWasRead) -> str:
    """The form of text files, where it is not the usual one."""
    found = []
    if any(one != USUAL_DELIMITER.get(read.format) for one in read.delimiters):
        found.append(f"delimiter {', '.join(map(delimiter_name, read.delimiters))}")
    if any(one != "utf-8" for one in read.encodings):
        found.append(f"encoding {', '.join(read.encodings)}")
    return f" ({'; '.join(found)})" if found else ""


def classes(manifest: Manifest) -> list[str]:
    """A line for each class with its rows in each split, the most frequent first; empty for other tasks."""
    if not manifest.label_names:
        return []
    counts = _counts(manifest)
    order = sorted(counts, key=lambda name: (-sum(counts[name]), name))
    shown = [(_shown(name), *(f"{rows:,}" for rows in counts[name])) for name in order[:MOST_CLASSES]]
    if len(order) > MOST_CLASSES:
        rest = [sum(counts[name][split] for name in order[MOST_CLASSES:]) for split in range(len(SPLITS))]
        shown.append((f"{len(order) - MOST_CLASSES} more classes", *(f"{rows:,}" for rows in rest)))
    table = [("class", *SPLITS), *shown]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]


def doubts(manifest: Manifest) -> list[str]:
    """Classes that are probably one, or none: labels that differ only in case or spaces, or mean that there is none."""
    counts = {name: sum(rows) for name, rows in _counts(manifest).items()}
    alike: dict[str, list[str]] = {}
    for name in counts:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    lines = []
    groups = [sorted(names, key=lambda name: (-counts[name], name)) for names in alike.values() if len(names) > 1]
    if groups:
        listed = "; ".join(_listed(names, counts) for names in groups[:5]) + ("; ..." if len(groups) > 5 else "")
        lines.append(
            f"{sum(map(len, groups))} classes differ only in case or spaces from another: {listed}. Write each label "
            "in one way, or they are learnt as different classes"
        )
    if empty := [name for name in counts if name.casefold().strip() in _NO_LABEL]:
        lines.append(
            f"{_listed(empty, counts)} {'looks' if len(empty) == 1 else 'look'} like no label, but "
            f"{'is a class' if len(empty) == 1 else 'are classes'} here: empty the field and pass --skip-unlabelled to "
            "leave such rows out"
        )
    return lines


def _listed(names: Sequence[str], counts: dict[str, int]) -> str:
    return ", ".join(f"{brief(repr(name), LONGEST_NAME)} ({counts[name]:,})" for name in names)


def _counts(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The rows of each class in each split."""
    of_splits = [manifest.splits[name].label_counts for name in SPLITS]
    return dict(zip(manifest.label_names, zip(*of_splits, strict=True), strict=False)) if manifest.label_names else {}


def _shown(name: str) -> str:
    """A class's name; in quotes if spaces at its ends would not be seen."""
    return brief(name if name == name.strip() else repr(name), LONGEST_NAME)

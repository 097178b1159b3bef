"""`batchscope.prepare`: articles -> a prepared data set."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.data.manifest import Manifest

Place = str | os.PathLike[str]


def prepare(
    sources: Place | Sequence[Place],
    dest: Place,
    *,
    text: str | None = None,
    label: str | None = None,
    features: str | None = None,
    group_by: str | None = None,
    max_tokens: int = 200,
    vocabulary: int | None = None,
    tokenizer: str = "words",
    task: str | None = None,
    skip_empty: bool = False,
    skip_unlabelled: bool = False,
    encoding: str | None = None,
    delimiter: str | None = None,
    split_seed: int = 0,
    address: str | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> "Manifest":
    """Read articles and prepare a data set: `prepare("a.parquet", "prepared", text="body", label="topic")`.

    Args:
        sources: one or several Parquet, JSONL or CSV files, folders of them, or `s3://` addresses, all of one format.
        dest: a folder or an `s3://` address where nothing exists yet.
        text: the column with the text.
        label: the column with the label; None only for the task `language_model`.
        features: instead of `text`, a column of number lists, or of lists of those; or columns: `a,b`, `x*`.
        group_by: keep rows that share a value of this column in one split. Duplicate texts always stay together.
        max_tokens: longer rows are cut on the right.
        vocabulary: the number of words or characters to keep, counted in the train split only; by default 20,000.
        tokenizer: what a token is: `words`, `characters`, `bytes`, or the path of a `tokenizer.json` of Hugging Face.
        task: `classification`, `regression` or `language_model`; by default regression for floats, else classification.
        skip_empty: leave out empty texts instead of refusing them.
        skip_unlabelled: leave out rows without a label instead of refusing them.
        encoding: that of CSV and JSONL, such as `cp1252`; by default UTF-8, or UTF-16 by its mark.
        delimiter: the character between the fields of CSV; by default the one that gives the columns named here.
        split_seed: another seed gives other splits.
        address: read and tokenise on Ray: `auto` or `host:port` of a cluster that sees the sources, or `local`.
        on_progress: called with the name of a stage and the share of it that is done, from 0 to 1.

    Raises:
        InputError: the sources cannot be used as they are.
        NotReadyError: a store cannot be read or written, or the cluster cannot do the work.
    """
    options = dict(locals())
    del options["sources"], options["dest"]
    return _prepared(*_paths(sources, dest), **options)


def _prepared(
    sources: list[str], dest: str, *, on_progress: Callable[[str, float], None] | None, **options: Any
) -> "Manifest":
    """Prepare inside another program: signals are handled, and the machine's own addresses bypass proxies."""
    from cluster.prepare.dataset import prepare as prepared
    from cluster.prepare.progress import silent
    from cluster.process import proxies, signals

    proxies.go_direct()
    with signals.heeded():
        return prepared(sources, dest, progress=on_progress or silent, **options)


def _paths(sources: Place | Sequence[Place], dest: Place) -> tuple[list[str], str]:
    listed = [sources] if isinstance(sources, str | os.PathLike) else sources
    return [os.fspath(source) for source in listed], os.fspath(dest)

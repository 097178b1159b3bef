"""What failed in a study, and why: the trials that ended without an answer, grouped by their cause. Pure."""

import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.summary import query
from cluster.summary.tables import FAILED, OUT_OF_MEMORY

# Two trials that failed alike have the same place in the code, but different measured values.
_VALUE = re.compile(r"[-+]?\b\d[\w.+-]*")


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The error of the trial `trial_id`, and how many trials failed like it."""

    text: str
    trials: int
    trial_id: str


@dataclass(frozen=True, kw_only=True)
class Failures:
    """How many of a study's `trials`, ended or not, failed, and the causes, most frequent first."""

    failed: int
    trials: int
    causes: tuple[Cause, ...]


NONE = Failures(failed=0, trials=0, causes=())


def failures(trials: pa.Table, asked: int | None) -> Failures:
    """The failures among the trials of one study that asks for `asked` trials."""
    latest = query.latest(trials)
    goes_on = pc.field("micro_batch_next").is_valid()
    rows = latest.filter(pc.field("state").isin((FAILED, OUT_OF_MEMORY)) & ~goes_on).to_pylist()
    texts = [row["error"] or f"{row['state']} without a recorded error" for row in rows]
    kinds = Counter(map(_kind, texts))
    ids = [row["trial_id"] for row in rows]
    alike = {_kind(text): (text, trial_id) for text, trial_id in sorted(zip(texts, ids, strict=True), reverse=True)}
    causes = [Cause(text=alike[kind][0], trials=count, trial_id=alike[kind][1]) for kind, count in kinds.items()]
    return Failures(
        failed=len(texts),
        trials=max(asked or 0, len(latest)),
        causes=tuple(sorted(causes, key=lambda cause: (-cause.trials, cause.text))),
    )


def _kind(error: str) -> str:
    words, opening, place = error.rpartition(" (")
    return _VALUE.sub("#", words) + opening + place if opening else _VALUE.sub("#", error)

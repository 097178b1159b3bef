"""What each tool answers: the fields of its structured content. Fields are added, never renamed."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RowsAnswer:
    """Some rows of a table: `total` are there, these begin at `offset`, and `next_offset` is null at the end.

    `problems` are objects of the summary that are left out, and why.
    """

    schema_version: int
    table: str
    total: int
    offset: int
    next_offset: int | None
    rows: list[dict[str, Any]]
    problems: list[str]


@dataclass(frozen=True, kw_only=True)
class VerdictAnswer:
    """What a study shows about its batch sizes, and what it cannot.

    `sentences` are in order of importance, the answer first. `use` has the batch size to use in each group of one
    optimizer and dtype; it is empty where nothing is compared. `comparisons` are those with the reference; `cells` are
    the batch sizes. `left_out` has how many items are missing of a list that is too long.
    """

    schema_version: int
    study: str
    sentences: list[str]
    cannot_say: list[str]
    cautions: list[str]
    margin: float | None
    target: float | None
    use: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    trials: int
    failed: int
    left_out: dict[str, int]
    problems: list[str]


@dataclass(frozen=True, kw_only=True)
class ClaimsAnswer:
    """What the verdict answers to claims: `true`, `false` or `undecided`, and why. `holds` is true if all are true."""

    schema_version: int
    study: str
    holds: bool
    margin: float | None
    claims: list[dict[str, Any]]
    problems: list[str]


@dataclass(frozen=True, kw_only=True)
class NextAnswer:
    """The study that decides what is undecided: its YAML, and what it takes. Where none follows, `why` is the reason.

    `code` is `study`, or why there is none: `decided`, `unfinished`, `one_batch`, `no_answer`, `not_judged`,
    `out_of_reach`. `margin` is `declared`, or `example`: then a person must fill in their own.
    """

    schema_version: int
    study: str
    code: str
    why: str
    margin: str | None
    trainings: list[int]
    seconds: list[float]
    study_yaml: str | None
    problems: list[str]


@dataclass(frozen=True, kw_only=True)
class FailuresAnswer:
    """How a study's trials ended: `states` counts them, `causes` are the errors of those that failed.

    `asked` is how many trials the study asks for, null if that is not known; `running_or_lost` counts attempts that
    began and left no row. `causes_total` is the number of different errors, of which the most frequent are listed.
    """

    schema_version: int
    study: str
    asked: int | None
    ended: int
    states: dict[str, int]
    failed: int
    causes_total: int
    causes: list[dict[str, Any]]
    running_or_lost: int
    problems: list[str]

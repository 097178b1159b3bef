"""A table in a terminal: what matters fits first, words that are the same in all rows make room, nothing is cut."""

import pyarrow as pa
import pytest

from cluster.text.table import Column, asked_for, to_text

COLUMNS = [
    Column("rows", ("global batch", "rows")),
    Column("optimizer", ("", "optimizer")),
    Column("loss", ("val.", "loss"), decimals=4),
    Column("completed", ("", "completed")),
]
ROWS = pa.table({"rows": [8, 16], "optimizer": ["adam", "adam"], "loss": [0.5, 0.25], "completed": [3, 3]})


def test_where_all_fit_all_are_there() -> None:
    assert to_text(ROWS, COLUMNS, width=80).splitlines() == [
        "global batch               val.",
        "        rows  optimizer    loss  completed",
        "           8  adam       0.5000          3",
        "          16  adam       0.2500          3",
    ]


def test_words_that_are_the_same_in_all_rows_make_room_for_numbers() -> None:
    assert to_text(ROWS, COLUMNS, width=24).splitlines() == [
        "global batch    val.",
        "        rows    loss",
        "           8  0.5000",
        "          16  0.2500",
        "the same in all rows:",
        "optimizer adam",
        "(1 more column in a wider terminal, or with --format csv)",
    ]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (ROWS, asked_for(["rows", "optimizer", "loss"], COLUMNS)),
        (ROWS.slice(0, 1), COLUMNS),
        (ROWS.set_column(1, "optimizer", pa.array(["adam", "sgd"])), COLUMNS),
    ],
    ids=["asked for", "one row", "different"],
)
def test_others_stay_in_their_place(rows: pa.Table, columns: list[Column]) -> None:
    head = to_text(rows, columns, width=24).splitlines()[1]
    assert head.split() == ["rows", "optimizer"]


def test_a_first_column_wider_than_the_terminal_is_whole() -> None:
    rows = pa.table({"name": ["a" * 40], "loss": [0.5]})
    assert "a" * 40 in to_text(rows, asked_for(["name", "loss"], []), width=20)

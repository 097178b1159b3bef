"""SQL and `--where`, as people and programs write them, and with parts of one in another.

What is answered is written in every format, and reads back as so many rows; a condition only chooses rows.
"""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.summary import sandboxed
from cluster.summary.points import points
from cluster.text import formats
from cluster.text.table import asked_for, to_text
from tests.fuzz.engine import Try, check
from tests.support.simulated import World, spec_of, study
from trainer.errors import InputError

QUERIES = (
    "select * from trials where best_validation_loss < 1.5 order by learning_rate desc limit 3",
    "select study, count(*) as n, avg(seed) filter (where state = 'COMPLETED') from trials group by all",
    "select max(ended_at) - min(started_at) as took, list(seed) from trials group by global_batch having count(*) > 1",
    "with t as (select * from trials) select t.seed, e.* from t join evaluations e using (study, trial_id) limit 5",
    "select * from (pivot (select * from trials) on global_batch in (16, 64) using avg(best_validation_loss))",
    "from points select columns('.*_mean') limit 2",
    "select row_number() over (partition by optimizer order by seed) as r, {'a': seed, 'b': [1, null]} from trials",
    "summarize trials",
    "describe evaluations",
    "show tables",
    "select * from test_all_types()",
    "select unnest(['a', 'b']) as x, map {'k': started_at} as m from trials limit 2",
    "select spec_json->'$.axes' as axes, json_extract(spec_json, '$.budget') from studies",
    "select cast('nan' as double), 1/0, 0.1::decimal(38, 10), 2::hugeint ** 70, 'x'::blob, interval '3 days', uuid()",
    "select date '2026-01-01' + interval (seed) days, strftime(started_at, '%Y'), epoch(ended_at) from trials",
)
CONDITIONS = (
    "global_batch in (16, 64) or learning_rate > 0.01",
    "state = 'COMPLETED' and not (seed = 1)",
    "best_validation_loss between 0.5 and 1.5",
    "error is null and optimizer like 'ad%'",
    "case when seed > 0 then true else false end",
    "started_at > timestamp '2026-01-01' - interval '3 days'",
    "(global_batch, seed) in ((16, 0), (64, 1))",
    "coalesce(test_accuracy, 0) >= 0.5 and regexp_matches(trial_id, '^[0-9a-f]+$')",
)
_TOKENS = """
select from where ( ) , ; -- /* */ ' " $$ * null true false and or not 1 0 -1 1e400 0x1F 'x' \\ :: . ? @ # ~ {}
[] $1 trials evaluations studies points probes seed state learning_rate nothing exists in is like over limit
offset 'nan'::double 'infinity'::date random() now() version() pragma_version() duckdb_settings() attach copy
read_csv('/x')
"""
WORDS = (
    *_TOKENS.split(),
    *(
        "(select 1)",
        "union all",
        "group by all",
        "order by 1",
        "\x00",
        "\x1b[31m",
        "\ud800",
        "\u80a1",
        "\u202e",
        "\ufeff",
        "interval '1' year",
    ),
)


def _tables() -> dict[str, Any]:
    axes = {"global_batch": [16, 64], "learning_rate": [0.01, 0.1], "seeds": 2}
    studies, trials, evaluations = study(spec_of(axes=axes, budget={"updates": 20}, protocol=None), World())
    return {"studies": studies, "trials": trials, "evaluations": evaluations, "points": points(trials)}


def _mutated(text: str, others: tuple[str, ...], draw: Random) -> str:
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        words = text.split(" ")
        at = draw.randrange(len(words))
        how = draw.randrange(5)
        if how == 0:
            words.insert(at, draw.choice(WORDS))
        elif how == 1:
            words[at] = draw.choice(WORDS)
        elif how == 2 and len(words) > 1:
            del words[at]
        elif how == 3:
            words[at] = draw.choice(draw.choice(others).split(" "))
        else:
            place = draw.randrange(len(text) + 1)
            words = [text[:place] + draw.choice(WORDS) + text[place:]]
        text = " ".join(words)
    return text


def _answer(question: dict[str, str], tables: dict[str, Any]) -> pa.Table:
    """As the box answers: whatever a query raises there is a refusal of one line."""
    try:
        rows = sandboxed.answer(question, tables)
    except Exception as problem:
        raise InputError(f"SQL: {(str(problem).splitlines() or [type(problem).__name__])[0]}") from None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


@contextmanager
def sql(folder: Path) -> Iterator[Try]:
    """SELECTs, answered in this process as in the box."""
    tables = _tables()

    def attempt(draw: Random) -> bool:
        rows = _answer({"sql": _mutated(draw.choice(QUERIES), QUERIES, draw)}, tables)
        as_json = json.loads(formats.to_json(rows, name="sql"), parse_constant=_refuse)
        check(len(as_json["rows"]) == rows.num_rows, "rows are missing in JSON")
        lines = list(csv.reader(io.StringIO(formats.to_csv(rows))))
        # A row of one empty cell is an empty line.
        check(len(lines) == rows.num_rows + 1 or rows.num_columns == 1, "rows are missing in CSV")
        shown = to_text(rows, asked_for(rows.column_names, []))
        check("\x1b" not in shown and "MonthDayNano" not in shown and "datetime." not in shown, shown)
        back = pq.read_table(pa.BufferReader(formats.to_parquet(rows)))
        check(back.num_rows == rows.num_rows or not rows.num_columns, "rows are missing in Parquet")
        return True

    yield attempt


@contextmanager
def where(folder: Path) -> Iterator[Try]:
    """Conditions on the rows of trials."""
    trials = _tables()["trials"]
    ids = trials["trial_id"].to_pylist()

    def attempt(draw: Random) -> bool:
        rows = _answer({"where": _mutated(draw.choice(CONDITIONS), CONDITIONS, draw)}, {"rows": trials})
        check(rows.schema == trials.schema, "other columns")
        places = [ids.index(trial_id) for trial_id in rows["trial_id"].to_pylist()]
        check(places == sorted(set(places)), "rows are doubled or in another order")
        check(rows.equals(trials.take(pa.array(places, pa.int64()))), "rows have other values")
        return True

    yield attempt


def _refuse(constant: str) -> None:
    check(False, f"{constant} is no JSON")

"""SQL on the summary: every form against pandas, and what must not be possible, each refused in one line."""

import json
import math
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from cluster.cli.results import command
from cluster.report.shape import TableShape, shaped
from cluster.summary import query, sandbox, tables
from cluster.summary.store import Summary
from tests.support import unboxed
from trainer.errors import InputError

LOSSES = {("wiki", 16): (0.5, 0.7), ("wiki", 32): (0.4, 0.44), ("news", 16): (0.9, 0.8)}


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Two studies, three points with two seeds each, and two evaluations a trial."""
    one = Summary(str(tmp_path_factory.mktemp("sql")))
    for (study, batch), losses in LOSSES.items():
        one.write_study({"study": study, "spec_hash": "a1", "trials": 4, "margin": 0.1})
        for seed, loss in enumerate(losses):
            key = {"study": study, "trial_id": f"{batch}a{seed}", "attempt": 1}
            axes = {"global_batch": batch, "learning_rate": 0.1, "optimizer": "adam", "dtype": "float32", "seed": seed}
            one.write_trial({**key, **axes, "state": "COMPLETED", "best_validation_loss": loss})
            rows = [{**key, "update": update, "validation_loss": loss + 1 / update} for update in (10, 20)]
            one.write_evaluations(rows, part=0)
    return one


def frames(summary: Summary) -> dict[str, pd.DataFrame]:
    return {
        "trials": query.trials(summary).to_pandas(),
        "evaluations": query.evaluations(summary).to_pandas(),
        "points": query.points(query.trials(summary)).to_pandas(),
    }


@pytest.mark.slow
def test_one_table(summary: Summary) -> None:
    found = query.sql(summary, "select study, count(*) as n, sum(seed) as s from trials group by 1 order by 1")
    wanted = frames(summary)["trials"].groupby("study").agg(n=("seed", "size"), s=("seed", "sum")).reset_index()
    pd.testing.assert_frame_equal(found.to_pandas(), wanted, check_dtype=False)
    assert found.schema.field("s").type == pa.int64(), "a sum is a HUGEINT"


@pytest.mark.slow
def test_a_join_over_studies(summary: Summary) -> None:
    text = (
        "select t.study, t.global_batch, max(e.validation_loss) as worst from evaluations e "
        "join trials t using (study, trial_id, attempt) join studies s using (study) "
        "where e.update >= 20 and s.margin > 0 group by all order by all"
    )
    parts = frames(summary)
    both = parts["evaluations"].merge(parts["trials"], on=["study", "trial_id", "attempt"])
    wanted = both[both["update"] >= 20].groupby(["study", "global_batch"])["validation_loss"].max()
    pd.testing.assert_frame_equal(query.sql(summary, text).to_pandas(), wanted.rename("worst").reset_index())


@pytest.mark.slow
def test_points_and_one_study(summary: Summary) -> None:
    found = query.sql(summary, "FROM Points WHERE best_validation_loss_mean < 0.61 ORDER BY global_batch", "wiki")
    wanted = frames(summary)["points"].query("study == 'wiki' and best_validation_loss_mean < 0.61")
    pd.testing.assert_frame_equal(found.to_pandas(), wanted.reset_index(drop=True), check_dtype=False)
    assert query.sql(summary, "select distinct study from trials", "wiki").to_pylist() == [{"study": "wiki"}]


def test_each_table_of_the_summary_is_there(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    for name in (*tables.SCHEMAS, "points"):
        (row,) = query.sql(summary, f"select count(*) as n from {name}").to_pylist()
        assert row["n"] == {"studies": 2, "trials": 6, "evaluations": 12, "points": 3}.get(name, 0)


def test_a_bucket_is_asked_as_a_folder_is(summary: Summary, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    there = Summary(f"s3://{bucket}/x")
    for name in summary.store.names():
        there.store.write(name, summary.store.read(name))
    text = "select study, count(*) n from evaluations join trials using (study, trial_id) group by all order by all"
    assert query.sql(there, text) == query.sql(summary, text)


def test_what_is_compacted_is_the_same(summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.summary.compact import compact

    there = Summary(str(tmp_path))
    for name in summary.store.names():
        there.store.write(name, summary.store.read(name))
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    text = "select * from evaluations order by all"
    before = query.sql(there, text)
    assert compact(there, "wiki") == 8
    assert query.sql(there, text) == before


def attack(summary: Summary, text: str, **options: Any) -> str:
    with pytest.raises(InputError) as refused:
        query.sql(summary, text, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


TRICKS = [
    ("insert into trials select * from trials", "it is insert"),
    ("update trials set seed = 0", "it is update"),
    ("delete from trials", "it is delete"),
    ("drop view trials", "it is drop"),
    ("create table t as select 1", "it is create"),
    ("copy trials to '{out}'", "it is copy"),
    ("copy (select 1) to '{out}' (format parquet)", "it is copy"),
    ("export database '{out}'", "it is export"),
    ("attach '{out}' as other", "it is attach"),
    ("install httpfs", "it is load"),
    ("load httpfs", "it is load"),
    ("set memory_limit = '100GB'", "it is set"),
    ("reset threads", "it is"),
    ("pragma database_list", "it is pragma"),
    ("call pragma_version()", "it is call"),
    ("explain analyze select 1", "it is explain"),
    ("select 1; copy trials to '{out}'", "it is select, copy"),
    ("select 1; select 2", "it is select, select"),
    ("", "it is nothing"),
    ("-- select 1", "it is nothing"),
    ("select * from read_csv('{secret}')", "disabled by configuration"),
    ("select * from read_text('{secret}')", "disabled by configuration"),
    ("select * from read_blob('/proc/self/environ')", "disabled by configuration"),
    ("select * from read_json('{secret}')", "disabled by configuration"),
    ("select * from read_parquet('{secret}')", "disabled by configuration"),
    ("select * from parquet_metadata('{secret}')", "disabled by configuration"),
    ("select * from glob('/etc/*')", "disabled by configuration"),
    ("select * from sniff_csv('{secret}')", "disabled by configuration"),
    ("select * from query('from read_csv(''{secret}'')')", "disabled by configuration"),
    ("select * from '{secret}'", "disabled by configuration"),
    ("select * from 'https://127.0.0.1:{port}/x.parquet'", "disabled by configuration"),
    ("select * from read_parquet('http://127.0.0.1:{port}/x.parquet')", "the tables are"),
    ("select * from read_parquet('s3://bucket/x.parquet')", "the tables are"),
    ("select * from sqlite_scan('{secret}', 't')", "the tables are"),
    ("select * from streams", "no table 'streams'"),
    ("select getenv('AWS_SECRET_ACCESS_KEY')", "the tables are"),
    ("select * from arrow_scan(1, 2, 3)", "the tables are"),
]
BOMBS = [
    ("select list_sum(range(400000000))", "2 GiB"),
    ("select repeat('x', 2000000000)", "2 GiB"),
    ("select repeat('x', 1000) from range(400000)", "ask for fewer rows"),
]


def refusal(summary: Summary, text: str, **options: Any) -> str:
    with pytest.raises(InputError) as refused:
        query.sql(summary, text, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.slow
def test_what_must_not_be_is_refused_in_one_line(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "open sesame")
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        for trick, message in TRICKS:
            values = {"out": tmp_path / "out", "secret": secret, "port": server.getsockname()[1]}
            said = refusal(summary, trick.format(**values))
            assert message in said, (trick, said)
            assert "open sesame" not in said
        with pytest.raises(BlockingIOError):
            server.accept()
    assert list(tmp_path.iterdir()) == [secret]


@pytest.mark.slow
@pytest.mark.parametrize(("bomb", "message"), [*BOMBS, TRICKS[5], TRICKS[22]])
def test_the_box_holds(summary: Summary, bomb: str, message: str) -> None:
    assert message in refusal(summary, bomb)


@pytest.mark.slow
def test_what_duckdb_says_meanwhile_is_no_answer(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    # It shows a progress bar on stdout after two seconds.
    talkative = (
        "import os; from cluster.summary import sandboxed; answer = sandboxed.answer; "
        "sandboxed.answer = lambda *question: (os.write(1, b'50%'), answer(*question))[1]; sandboxed.main()"
    )
    monkeypatch.setattr(sandbox, "START", sandbox.START.partition("from ")[0] + talkative)
    assert query.sql(summary, "select 1 as one").to_pylist() == [{"one": 1}]


@pytest.mark.slow
def test_a_value_that_an_error_quotes_commands_no_terminal(summary: Summary) -> None:
    said = refusal(summary, "select ('a' || chr(27) || '[31m' || chr(8238) || seed)::int from trials")
    assert "Could not convert string 'a [31m 0'" in said or "Could not convert string 'a [31m 1'" in said


@pytest.mark.slow
def test_what_does_not_end_is_ended(summary: Summary) -> None:
    text = "select count(*) from range(1000000) a, range(1000000) b, trials where a.range * b.range % 7 = 8"
    # Other tests leave a process of Python's own: multiprocessing's tracker.
    before = psutil.Process().children()
    assert "it took more than 3 s and was ended" in refusal(summary, text, seconds=3)
    assert psutil.Process().children() == before


@pytest.mark.slow
def test_a_box_holds_no_secrets_and_writes_no_file(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, "open sesame")
    begun: list[dict[str, str]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            begun.append(options["env"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    assert query.sql(summary, "select 1 as one").to_pylist() == [{"one": 1}]
    assert set(begun[0]) <= {*sandbox.KEPT, *sandbox.ENVIRONMENT}
    assert "open sesame" not in begun[0].values()
    file = tmp_path / "file"
    code = f"from cluster.summary.sandboxed import limit; limit(2**31, 9); open({str(file)!r}, 'wb', 0).write(b'x')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": sandbox.ROOT}, capture_output=True, check=False
    )
    assert b"File too large" in done.stderr
    assert file.read_bytes() == b""


def test_an_error_names_what_there_is(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    assert "there is no table 'trails' (did you mean 'trials'?): studies, trials, " in refusal(summary, "from trails")
    said = refusal(summary, "select globalbatch from trials join evaluations using (trial_id)")
    assert "there is no column 'globalbatch' (did you mean 'global_batch'?): trials has study, trial_id, " in said
    assert "; evaluations has study, " in said
    assert "no column 'lost'" in refusal(summary, "select evaluations.lost from evaluations")
    assert 'syntax error at or near "selec"; the tables are' in refusal(summary, "selec 1")
    assert "Conversion Error" in refusal(summary, "select 'a'::int from trials")


@pytest.mark.slow
def test_a_file_that_goes_away_is_looked_for_again(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, original = [], sandbox.ask

    def late(question: Any, tables: dict[str, Any], **options: Any) -> pa.Table:
        if not asked:
            asked.append(1)
            tables = {"trials": sandbox.TableFiles([("/nowhere/1.parquet", "wiki")], tables["trials"].schema)}
        return original(question, tables, **options)

    monkeypatch.setattr(sandbox, "ask", late)
    assert query.sql(summary, "select count(*) n from trials").to_pylist() == [{"n": 6}]
    assert asked


def test_names_and_numbers_that_arrow_has_otherwise(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    text = "select 1 as a, 2 as a, 3 as a_1, 1.25 as d, 10::hugeint ** 30 as h, 12345678901234567890123::hugeint as i"
    (row,) = query.sql(summary, text).to_pylist()
    assert row == {"a": 1, "a_1": 2, "a_1_1": 3, "d": 1.25, "h": 1e30, "i": "12345678901234567890123"}


ODD = {
    "timestamp '2026-01-02 00:00:10' - timestamp '2026-01-02'": "00:00:10",
    "interval '1 month 3 days'": "1 month 3 days",
    "[interval '2 days']": "[2 days]",
    "9223372036854775808::hugeint": "9223372036854775808",
    "[9223372036854775808::hugeint]": "[9223372036854775808]",
    "date '99999-12-31'": "99999-12-31",
    "[date '99999-12-31', date '2026-01-02']": "[99999-12-31, 2026-01-02]",
    "'infinity'::timestamp": "infinity",
    "timestamptz '294247-01-10 04:00:54.775806+00'": "294247-01-10 04:00:54.775806+00",
    "timetz '01:02:03+05'": "01:02:03+05",
    "time_ns '01:02:03.123456789'": "01:02:03.123456789",
    "'\\xAA'::blob": "\\xAA",
    "bit '101'": "101",
    "union_value(k := 1)": "1",
    "123456789012345678901234567890::bignum": "123456789012345678901234567890",
}


@pytest.mark.parametrize("value", ODD)
def test_a_value_that_no_other_program_could_read_is_text(
    summary: Summary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    text = f"select {value} as odd from trials"
    answer = json.loads(results(summary, "--sql", text, "--limit", "1", "--format", "json").stdout)
    assert answer["rows"] == [{"odd": ODD[value]}]
    assert ODD[value] in results(summary, "--sql", text, "--limit", "1").stdout
    results(summary, "--sql", text, "--limit", "1", "--format", "parquet", "-o", str(tmp_path / "odd.parquet"))
    assert pq.read_table(tmp_path / "odd.parquet").to_pylist() == [{"odd": ODD[value]}]


def test_every_type_of_duckdb_is_written_in_every_format(
    summary: Summary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    for form in ("table", "csv", "json", "parquet"):
        file = tmp_path / form
        given = ("--sql", "select * from test_all_types()", "--format", form, "-o", str(file))
        assert (results(summary, *given).exception, file.stat().st_size > 0) == (None, True)
        if form != "parquet":
            assert "MonthDayNano" not in file.read_text()
            assert "datetime." not in file.read_text()


def test_lists_are_json_in_every_cell(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    text = "select [1, null] as l, {'at': timestamp '2026-01-02', 'x': 'nan'::double} as s"
    csv = results(summary, "--sql", text, "--format", "csv").stdout
    assert csv == 'l,s\n"[1, null]","{""at"": ""2026-01-02T00:00:00"", ""x"": null}"\n'
    assert '[1, null]  {"at": "2026-01-02T00:00:00", "x": null}' in results(summary, "--sql", text).stdout


@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_name_of_a_column_commands_no_terminal(summary: Summary, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    printed = results(summary, "--sql", 'select 1 as "\x1b[31mred"', "--format", form).stdout
    assert "\x1b" not in printed
    assert "red" in printed


@pytest.mark.parametrize("question", [{"sql": "select '\ud800'"}, {"where": "study = '\ud800'"}])
def test_text_that_is_none_is_refused_in_the_box(question: dict[str, str]) -> None:
    with pytest.raises(sandbox.RefusedError, match=r"\A[^\n]+\Z"):
        sandbox.ask(question, {"rows": pa.table({"study": ["wiki"]})})


def test_a_pivot_says_how_to_ask_it(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    with pytest.raises(InputError, match=r"must name its columns here: select \* from \(pivot"):
        query.sql(summary, "pivot trials on global_batch using avg(best_validation_loss)")


# The command


def results(summary: Summary, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--summary", summary.uri], standalone_mode=False)


def test_the_command_prints_an_answer(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    text = "select study, null as nothing, max(seed) as seed, date '2026-01-02' as day from trials group by study"
    result = results(summary, "--sql", text, "--sort=-study")
    assert result.stdout.splitlines() == [
        "",
        "study  nothing  seed         day",
        "wiki         -     1  2026-01-02",
        "news         -     1  2026-01-02",
    ]
    answer = json.loads(results(summary, "wiki", "--sql", text, "--format", "json").stdout)
    assert (answer["schema_version"], answer["table"]) == (1, "sql")
    assert answer["rows"] == [{"study": "wiki", "nothing": None, "seed": 1, "day": "2026-01-02"}]


def test_the_points_of_all_studies(summary: Summary) -> None:
    result = results(summary, "--by", "global_batch", "--sort", "best_validation_loss_mean", "--limit", "2")
    assert [line.split()[:4] for line in result.stdout.splitlines()[2:4]] == [
        ["wiki", "32", "2", "0.4200"],
        ["wiki", "16", "2", "0.6000"],
    ]
    assert result.stderr == "showing the first 2 of 3 rows\n"
    assert "wiki: lowest mean validation loss: global batch 32" in result.stdout


def test_columns_in_the_order_asked_for_and_those_that_differ(summary: Summary) -> None:
    names = "best_validation_loss_best,global_batch,test_loss_mean"
    lines = results(summary, "wiki", "--columns", names).stdout.splitlines()
    assert [line.split() for line in lines[2:4]] == [["0.5000", "16", "-"], ["0.4000", "32", "-"]]
    text = results(summary, "wiki", "--diff", "--format", "csv", "--columns", f"learning_rate,{names}").stdout
    assert text.splitlines()[0] == "best_validation_loss_best,global_batch"


# Against pandas, on random tables

REAL = st.one_of(st.none(), st.floats(-100, 100, width=32))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "study": st.sampled_from(["a", "b"]),
            "trial_id": st.sampled_from(["1", "2", "3", "4", "5"]),
            "attempt": st.integers(1, 2),
            "state": st.sampled_from(["COMPLETED", "COMPLETED", "COMPLETED", "DIVERGED"]),
            "global_batch": st.sampled_from([8, 16]),
            "optimizer": st.sampled_from(["adam", "sgd", None]),
            "seed": st.integers(0, 2),
            "best_validation_loss": REAL,
            "test_accuracy": REAL,
            "updates": st.one_of(st.none(), st.integers(0, 99)),
        }
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda row: (row["study"], row["trial_id"], row["attempt"]),
)


def points_by_pandas(rows: list[dict[str, Any]], by: list[str]) -> list[dict[str, Any]]:
    """Count, mean, deviation, best and t-interval over the completed ones of the latest attempts, by pandas."""
    frame = pd.DataFrame(rows).sort_values("attempt").groupby(["study", "trial_id"]).tail(1)
    found = []
    for key, group in frame.groupby(["study", *by], dropna=False):
        done = group[group["state"] == "COMPLETED"]
        row = {name: None if pd.isna(value) else value for name, value in zip(["study", *by], key, strict=True)}
        row |= {"trials": len(group), "completed": len(done), "seeds": done["seed"].nunique()}
        for name, best in (("best_validation_loss", "min"), ("test_accuracy", "max")):
            whole, n = done[name].notna().all() and len(done) > 0, len(done)
            values = done[name].astype(float)
            mean, sd = values.mean(), values.std()
            low, high = (
                (mean + sign * t.ppf(0.975, n - 1) * sd / math.sqrt(n) for sign in (-1, 1))
                if whole and n > 1
                else (None, None)
            )
            row |= {
                f"{name}_mean": mean if whole else None,
                f"{name}_sd": sd if whole and n > 1 else None,
                f"{name}_best": values.agg(best) if whole else None,
                f"{name}_ci95_low": low,
                f"{name}_ci95_high": high,
            }
        found.append(row)
    return sorted(found, key=lambda row: [(row[name] is None, row[name] or "") for name in ("study", *by)])


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for name, value in other.items():
            expected = pytest.approx(value, rel=1e-9, abs=1e-6) if isinstance(value, float) else value
            assert one[name] == expected, (name, one, other)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(ROWS, st.lists(st.sampled_from(["global_batch", "optimizer"]), unique=True))
def test_points_are_what_pandas_says(rows: list[dict[str, Any]], by: list[str]) -> None:
    found = query.points(tables.table_of("trials", rows), by=by).to_pylist()
    same(found, points_by_pandas(rows, by))


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(ROWS, st.sampled_from([16, 8]))
def test_where_and_sql_are_what_pandas_says(rows: list[dict[str, Any]], batch: int) -> None:
    table, frame = tables.table_of("trials", rows), pd.DataFrame(rows)
    condition = f"global_batch = {batch} and best_validation_loss > 0.5"
    question = f"select trial_id, count(*) n, sum(updates) u from trials where {condition} group by 1 order by 1"
    chosen = frame[(frame["global_batch"] == batch) & (frame["best_validation_loss"].astype(float) > 0.5)]
    rows_found = unboxed.ask({"where": condition}, {"rows": table})
    assert rows_found.equals(table.take(chosen.index.to_numpy()))
    found = unboxed.ask({"sql": question}, {"trials": table}).to_pylist()
    groups = chosen.groupby("trial_id")["updates"]
    wanted = [
        {"trial_id": name, "n": len(group), "u": None if group.isna().all() else int(group.sum())}
        for name, group in groups
    ]
    assert found == wanted


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    ROWS,
    st.lists(st.sampled_from(["updates", "-updates", "seed", "-seed", "optimizer"]), max_size=2),
    st.one_of(st.none(), st.integers(1, 5)),
    st.booleans(),
)
def test_a_shape_is_what_pandas_says(
    rows: list[dict[str, Any]], sort: list[str], limit: int | None, diff: bool
) -> None:
    columns = ("trial_id", "updates", "optimizer", "seed")
    found = shaped(
        tables.table_of("trials", rows), TableShape(columns=columns, sort=tuple(sort), limit=limit, diff=diff)
    )
    frame = pd.DataFrame(rows).astype({"updates": "Int64"})
    for name in reversed(sort):
        ascending = not name.startswith("-")
        frame = frame.sort_values(name.lstrip("-"), ascending=ascending, kind="stable", na_position="last")
    frame = frame.head(limit if limit is not None else len(frame))[list(columns)]
    if diff and len(frame) > 1:
        frame = frame[[name for name in columns if frame[name].nunique(dropna=False) > 1]]
    assert found.column_names == list(frame.columns)
    for name in found.column_names:
        assert found[name].to_pylist() == [None if pd.isna(value) else value for value in frame[name]]

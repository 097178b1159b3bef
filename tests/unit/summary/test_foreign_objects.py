"""A summary with objects that are damaged, foreign or of another version: each is named, and hides nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from cluster.analysis.verdict import Verdict, judge
from cluster.cli.compact import command as compact_command
from cluster.cli.export import command as export_command
from cluster.cli.report import command as report_command
from cluster.cli.results import command as results_command
from cluster.exports.found import find
from cluster.report.page.page import page
from cluster.report.serve.app import application
from cluster.report.serve.guard import Rules
from cluster.summary import query, sandbox
from cluster.summary.compact import compact
from cluster.summary.encoding import decode, encode
from cluster.summary.problems import Problem
from cluster.summary.store import Summary
from tests.support import unboxed
from tests.support.simulated import Tables, World, spec_of, study
from tests.support.stored import changed
from trainer.errors import InputError, UserError

pytestmark = pytest.mark.slow

TRIALS, EVALUATIONS, STUDIES = (f"{table}/study=wiki" for table in ("trials", "evaluations", "studies"))
HERE = "http://127.0.0.1:8700"


@pytest.fixture(scope="module")
def tables() -> Tables:
    """A small study that ended: two batch sizes, three rates, two seeds."""
    spec = spec_of(
        axes={
            "global_batch": [16, 64],
            "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3},
            "seeds": 2,
        },
        budget={"updates": 60},
    )
    return study(spec, World())


@pytest.fixture
def problems() -> list[Problem]:
    return []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tables: Tables) -> Path:
    """The study as `wiki`, an object for each row as lanes write them, and another one beside it."""
    studies, trials, evaluations = tables
    one = Summary(str(tmp_path_factory.mktemp("written")))
    for name in ("wiki", "beside"):
        for row in studies.to_pylist():
            one.write_study({**row, "study": name, "trials": trials.num_rows})
    for row in trials.to_pylist():
        one.write_trial({**row, "study": "wiki"})
        of_trial = evaluations.filter(pc.equal(evaluations["trial_id"], row["trial_id"])).to_pylist()
        one.write_evaluations([{**point, "study": "wiki"} for point in of_trial], part=0)
    one.write_trial({**trials.to_pylist()[0], "study": "beside"})
    return Path(one.uri)


@pytest.fixture
def summary(tmp_path: Path, written: Path, problems: list[Problem]) -> Summary:
    """A copy of it for the test alone."""
    return Summary(str(shutil.copytree(written, tmp_path / "summary")), note=problems.append)


def put(summary: Summary, name: str, content: bytes | pa.Table) -> None:
    path = Path(summary.uri) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)


def some(summary: Summary, table: str = "trials") -> pa.Table:
    """The rows of one object of a table, as another program would write them."""
    name = summary.store.names(f"{table}/study=wiki/")[0]
    return decode(summary.store.read(name)).rows()


def new(table: pa.Table, **columns: Any) -> pa.Table:
    return changed(table, trial_id="0f0f", **columns)


def cut(summary: Summary) -> None:
    name = summary.store.names(TRIALS)[0]
    put(summary, f"{TRIALS}/cut.parquet", summary.store.read(name)[:-20])


def fifo(summary: Summary) -> None:
    os.mkfifo(Path(summary.uri) / TRIALS / "fifo-1.parquet")


def renamed(table: pa.Table, old: str, name: str) -> pa.Table:
    return table.rename_columns([name if column == old else column for column in table.column_names])


def twice(table: pa.Table) -> pa.Table:
    return pa.table([*table.columns, table["seed"]], names=[*table.column_names, "seed"])


def text_of(column: str, content: bytes) -> Callable[[pa.Table], pa.Table]:
    """The column as text of these bytes, which need not be UTF-8."""

    def change(table: pa.Table) -> pa.Table:
        raw = pa.Array.from_buffers(
            pa.string(),
            1,
            [None, pa.py_buffer(b"\0\0\0\0" + len(content).to_bytes(4, "little")), pa.py_buffer(content)],
        )
        return table.set_column(table.schema.get_field_index(column), column, raw)

    return change


def retyped(column: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: new(table).set_column(table.schema.get_field_index(column), column, values)


LATE = pa.array([2**60], pa.timestamp("us", tz="UTC"))
PARQUET = "cannot be read as Parquet"
WHOLE = f"{TRIALS}/whole.000000009.parquet"


def replacing(said: str) -> Callable[[Summary], None]:
    return lambda summary: put(summary, WHOLE, encode(some(summary).slice(0, 0), {"batchscope_replaces": said}))


def text(name: str, content: bytes = b"notes") -> Callable[[Summary], None]:
    return lambda summary: put(summary, name, content)


# Each with its name, and what is said of it.
FILES: dict[str, tuple[str, Callable[[Summary], None], str]] = {
    "cut": (f"{TRIALS}/cut.parquet", cut, "its seal does not fit"),
    "empty": (f"{TRIALS}/0a-1.parquet", text(f"{TRIALS}/0a-1.parquet", b""), PARQUET),
    "listed last": (f"{TRIALS}/zzz.txt", text(f"{TRIALS}/zzz.txt"), PARQUET),
    "stray": ("trials/x.parquet", lambda one: put(one, "trials/x.parquet", some(one)), "in no study's folder"),
    "stray text": ("evaluations/x", text("evaluations/x"), "in no study's folder"),
    "folder up": ("trials/study=../a.parquet", text("trials/study=../a.parquet"), "in no study's folder"),
    "folder space": ("studies/study=a b/a.parquet", text("studies/study=a b/a.parquet"), "in no study's folder"),
    "deep": (f"{TRIALS}/deep/a.parquet", text(f"{TRIALS}/deep/a.parquet"), "in no study's folder"),
    "fifo": (f"{TRIALS}/fifo-1.parquet", fifo, "regular file"),
    "whole empty": (WHOLE, text(WHOLE, b""), PARQUET),
    **{
        f"whole replaces {said[:9]}": (WHOLE, replacing(said), "not a list of names")
        for said in ("3", "null", "{", "[7]")
    },
    "whole replaces deep": (WHOLE, replacing("[" * 100_000), "not a list of names"),
}
ROWS: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "copy": (lambda one: one, "have a key that is in"),
    "other loss": (lambda one: changed(one, best_validation_loss=0.001), "have a key that is in"),
    "null trial_id": (lambda one: changed(one, trial_id=None), "have no trial_id"),
    "null attempt": (lambda one: new(one, attempt=None), "have no attempt"),
    "null state": (lambda one: new(one, state=None), "have no state"),
    "trial_id of a path": (lambda one: changed(one, trial_id="../../x"), "have an invalid trial_id"),
    "unknown state": (lambda one: new(one, state="DONE"), "have an unknown state"),
    "unknown phase": (lambda one: new(one, phase="tune"), "have an unknown phase"),
    "unknown optimizer": (lambda one: new(one, optimizer="../adam"), "have an unknown optimizer"),
    "unknown dtype": (lambda one: new(one, dtype="int8"), "have an unknown dtype"),
    "attempt 0": (lambda one: new(one, attempt=0), "have a attempt below 1"),
    "batch 0": (lambda one: new(one, global_batch=0), "have a global_batch below 1"),
    "micro-batch -1": (lambda one: new(one, micro_batch=-1), "have a micro_batch below 1"),
    "rate 0": (lambda one: new(one, learning_rate=0.0), "have an impossible learning_rate"),
    "rate NaN": (lambda one: new(one, learning_rate=float("nan")), "have an impossible learning_rate"),
    "late": (retyped("started_at", LATE), "started_at out of range"),
    "column twice": (lambda one: twice(new(one)), "column seed more than once"),
    "nested": (retyped("seed", pa.array([{"a": 1}])), "its column seed is struct"),
    "text for number": (retyped("seed", pa.array(["3"])), "its column seed is string"),
    "fraction": (retyped("seed", pa.array([1.5])), "its column seed cannot be int64"),
    "no UTF-8": (lambda one: text_of("error", b"\xff\xfe")(new(one)), "UTF"),
    "study": (
        lambda one: new(one).append_column("study", pa.array(["other"])),
        "to another study than 'wiki'",
    ),
    "no keys at all": (lambda one: one.select(["best_validation_loss"]), "have no trial_id"),
    "no columns of ours": (lambda one: renamed(one.select(["seed"]), "seed", "x"), "have no trial_id"),
}


def everything(summary: Summary, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """All that reads a summary; what is raised is for a person."""
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    at = ["--summary", summary.uri]
    for command, arguments in (
        (results_command, []),
        (results_command, ["wiki"]),
        (results_command, ["beside"]),
        (results_command, ["wiki", "--verdict"]),
        (results_command, ["--by", "global_batch"]),
        (results_command, ["--sql", "select count(*) from trials join evaluations using (study, trial_id)"]),
        (results_command, ["wiki", "--sql", "from studies"]),
        (report_command, ["wiki", "-o", str(folder / "page.html")]),
        (export_command, ["wiki"]),
        (export_command, ["wiki", "--tables", str(folder / "tables")]),
        (export_command, ["wiki", "--plots", str(folder / "plots")]),
        (compact_command, []),
        (results_command, ["wiki"]),
    ):
        done = CliRunner().invoke(command, [*arguments, *at], standalone_mode=False)
        if done.exception is not None and not isinstance(done.exception, UserError):
            raise AssertionError(f"{command.name} {arguments}") from done.exception
        yield done
    heard: list[Exception] = []
    rules = Rules(hosts=frozenset({"127.0.0.1:8700"}), token=None, cookie="c")
    with TestClient(application(summary, rules, page=page, report=heard.append), base_url=HERE) as client:
        for address in ("/", "/api/studies", "/studies/wiki", "/api/studies/beside", "/api/studies/wiki/verdict"):
            answer = client.get(address)
            assert answer.status_code in (200, 404), (address, heard)
            yield answer
    assert heard == []


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_named_and_hides_nothing(
    case: str, summary: Summary, problems: list[Problem]
) -> None:
    before = query.trials(summary, "wiki"), query.evaluations(summary, "wiki"), query.overview(summary)
    name, damage, said = FILES[case]
    damage(summary)
    problems.clear()
    assert (query.trials(summary), query.evaluations(summary), query.overview(summary))[2] == before[2]
    assert query.trials(summary, "wiki") == before[0]
    assert query.evaluations(summary, "wiki") == before[1]
    query.studies(summary)
    assert any(one.name == name and said in one.what for one in problems), problems
    compact(summary, "wiki")
    assert query.trials(summary, "wiki").sort_by("trial_id") == before[0].sort_by("trial_id")


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("case", ROWS)
def test_rows_that_are_not_accepted_are_left_out_and_named(
    case: str, compacted: bool, summary: Summary, problems: list[Problem]
) -> None:
    change, said = ROWS[case]
    one = change(some(summary))
    if compacted:
        compact(summary, "wiki")
    before = query.trials(summary, "wiki").sort_by("trial_id")
    put(summary, f"{TRIALS}/foreign.parquet", one)
    problems.clear()
    assert query.trials(summary, "wiki").sort_by("trial_id") == before
    told = [problem for problem in problems if problem.name == f"{TRIALS}/foreign.parquet"]
    assert len(told) == 1, problems
    assert said in told[0].what
    compact(summary, "wiki")
    assert query.trials(summary, "wiki").sort_by("trial_id") == before
    assert (Path(summary.uri) / TRIALS / "foreign.parquet").exists(), "nothing of somebody else is deleted"


@pytest.mark.filterwarnings("ignore::cluster.summary.problems.SummaryWarning")
@pytest.mark.parametrize("compacted", [False, True])
def test_every_command_goes_on_beside_all_of_them(
    compacted: bool, summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, one = query.trials(summary, "wiki").sort_by("trial_id"), some(summary)
    for _, damage, _ in FILES.values():
        damage(summary)
    for number, (change, _) in enumerate(ROWS.values()):
        put(summary, f"{TRIALS}/foreign {number}.parquet", change(one))
    for number, content in enumerate(MARKERS.values()):
        put(summary, f"attempts/study=wiki/0f0f-{number}.json", content)
    os.mkfifo(Path(summary.uri) / "attempts" / "study=wiki" / "0f0f-99.json")
    summary.attempt_started("wiki", "0d0d", 1, {})
    if compacted:
        compact(summary, "wiki")
    for done in everything(summary, tmp_path, monkeypatch):
        assert getattr(done, "exception", None) is None
    assert query.trials(summary, "wiki").sort_by("trial_id") == before


def test_a_copy_of_a_compacted_object_counts_nothing_twice(
    summary: Summary, problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    count = "select count(*) n, min(best_validation_loss) lowest from trials"
    compact(summary, "wiki")
    before = query.sql(summary, count, "wiki")
    for table in (TRIALS, EVALUATIONS):
        [whole] = summary.store.names(table)
        put(summary, whole.replace("whole.000000001", "whole.000000001 (copy)"), summary.store.read(whole))
    problems.clear()
    assert query.sql(summary, count, "wiki") == before
    assert [one.name for one in problems] == [f"{TRIALS}/whole.000000001 (copy).parquet"]
    rows = query.trials(summary, "wiki").num_rows
    assert problems[0].what.startswith(f"{rows} of {rows} rows left out: they have a key that is in whole.000000001")
    evaluations = query.sql(summary, "select count(*) n from evaluations", "wiki").to_pylist()
    assert evaluations == [{"n": query.evaluations(summary, "wiki").num_rows}]


@pytest.mark.parametrize("source", ["trials", "probes"])
def test_a_file_of_another_table_is_no_spec(summary: Summary, problems: list[Problem], source: str) -> None:
    before = query.studies(summary)
    now = datetime(2026, 1, 3, tzinfo=UTC)
    row = {"study": "wiki", "spec_hash": "a1", "probed_at": now, "kind": "memory", "state": "COMPLETED"}
    summary.write_probe([row])
    name = summary.store.names(f"{source}/study=wiki/")[0]
    put(summary, f"{STUDIES}/{name.rpartition('/')[2]}", summary.store.read(name))
    assert query.studies(summary) == before
    assert [one.what for one in problems] == [f"left out: its rows are of the table {source}"]


@pytest.mark.parametrize("damage", ["gone", "cut", "half", "all"])
def test_a_completed_trial_without_all_of_its_evaluations_is_named_and_is_no_answer(
    summary: Summary, problems: list[Problem], damage: str
) -> None:
    def verdict() -> Verdict:
        asked = query.specs(summary, "wiki"), query.trials(summary, "wiki"), query.evaluations(summary, "wiki")
        return judge(*asked)

    before = verdict()
    rows = query.trials(summary, "wiki")
    confirm = rows.filter(pc.and_(pc.equal(rows["phase"], "confirm"), pc.equal(rows["global_batch"], 64)))
    trial_id = confirm["trial_id"][0].as_py()
    name = f"{EVALUATIONS}/{trial_id}-1-0.parquet"
    path, curve = Path(summary.uri) / name, decode(summary.store.read(name)).rows()
    if damage == "cut":
        put(summary, name, summary.store.read(name)[:-9])
    elif damage == "half":
        put(summary, name, encode(curve.slice(0, len(curve) - 1)))
    else:
        path.unlink()
    if damage == "all":
        shutil.rmtree(path.parent)
    (there,) = verdict().groups
    cell = next(cell for cell in there.cells if cell.global_batch == 64)
    assert (cell.seeds, cell.completed) == (2, 0 if damage == "all" else 1)
    assert cell.missing == {"lacking_evaluations": 2 - cell.completed}
    assert [one.rates for one in there.cells] == [one.rates for one in before.groups[0].cells]
    assert cell.reach is None or [run.conclusive for run in cell.reach.runs].count(False) == 2 - cell.completed
    (said,) = [caveat for caveat in there.caveats if caveat.code == "lacking_evaluations"]
    assert trial_id in said.trials
    assert "files in the summary's `evaluations` are missing or damaged" in said.text
    for command in (
        (results_command, "wiki", "--verdict"),
        (report_command, "wiki", "-o", f"{summary.uri}.html"),
        (export_command, "wiki", "--tables", f"{summary.uri}-tables"),
        (export_command, "wiki", "--plots", f"{summary.uri}-plots"),
    ):
        found = CliRunner().invoke(command[0], [*command[1:], "--summary", summary.uri])
        assert (found.exit_code, found.exception) == (0, None), found.output
    assert "`evaluations` are missing or damaged" in page(summary, "wiki")


@pytest.mark.parametrize("compacted", [False, True])
def test_a_file_of_another_study_is_named_by_the_spec_that_its_rows_ran_under(
    summary: Summary, problems: list[Problem], compacted: bool
) -> None:
    other, *_ = study(spec_of(study="other", budget={"updates": 70}), World())[1].to_pylist()
    summary.write_trial({**other, "study": "other"})
    if compacted:
        compact(summary, "other")
    (name,) = summary.store.names("trials/study=other/")
    put(summary, f"{TRIALS}/{name.rpartition('/')[2]}", summary.store.read(name))
    query.trials(summary, "wiki")
    assert [(one.name, one.what.partition(":")[0]) for one in problems] == [
        (TRIALS, "1 of its rows ran under a spec that is not in studies/study=wiki")
    ]
    problems.clear()
    query.trials(summary, "beside")
    assert problems == []


def test_a_spec_that_another_tool_wrote_again_is_said_to_be_unverified(
    summary: Summary, problems: list[Problem]
) -> None:
    name = summary.store.names(STUDIES)[0]
    put(summary, name, changed(some(summary, "studies"), margin=0.5))
    query.specs(summary, "wiki")
    assert [str(one.name) for one in problems] == ["studies"]
    assert "1 of 1 files were written by an older version without a checksum" in problems[0].what


@pytest.mark.parametrize("lacking", ["data", "data_hash"])
def test_a_spec_that_names_no_data_is_one_line_at_export(summary: Summary, tmp_path: Path, lacking: str) -> None:
    rows = some(summary, "studies").append_column("study", pa.array(["wiki"]))
    (row,) = rows.to_pylist()
    filled = {"data": "somewhere", "data_hash": "d" * 64}
    summary.write_study({**row, **filled, lacking: None})
    with pytest.raises(InputError, match=r"the data set of the study .*: .* --data"):
        find(summary, "wiki", query.trials(summary, "wiki")["trial_id"][0].as_py(), data=None)


def test_of_rows_with_one_key_in_one_file_the_first_counts(summary: Summary, problems: list[Problem]) -> None:
    one = new(some(summary))
    put(summary, f"{TRIALS}/foreign.parquet", pa.concat_tables([one, changed(one, best_validation_loss=0.0)]))
    rows = query.trials(summary, "wiki").to_pylist()
    assert [row["best_validation_loss"] != 0.0 for row in rows if row["trial_id"] == "0f0f"] == [True]
    assert "1 of 2 rows left out: they have a key that is more than once in it" in problems[0].what


def test_a_name_that_tells_a_key_is_believed_before_another(summary: Summary, problems: list[Problem]) -> None:
    one = some(summary)
    name = summary.store.names(TRIALS)[0]
    put(summary, f"{TRIALS}/00 first by name.parquet", changed(one, best_validation_loss=0.0))
    assert 0.0 not in query.trials(summary)["best_validation_loss"].to_pylist()
    assert [one.name for one in problems] == [f"{TRIALS}/00 first by name.parquet", "trials"]
    problems.clear()
    # A file named after another attempt than that of its rows.
    put(summary, name.replace("-1.parquet", "-2.parquet"), new(one))
    query.trials(summary)
    assert any("have another trial_id than the file's name says" in one.what for one in problems)


def test_evaluations_and_probes_and_specs_are_judged_too(summary: Summary, problems: list[Problem]) -> None:
    before = query.evaluations(summary, "wiki"), query.studies(summary)
    point = some(summary, "evaluations").slice(0, 1)
    put(summary, f"{EVALUATIONS}/a.parquet", changed(point, validation_loss=0.0))
    put(summary, f"{EVALUATIONS}/b.parquet", changed(point, update=-1))
    put(summary, f"{EVALUATIONS}/c.parquet", changed(point, update=None))
    spec = some(summary, "studies")
    for number, text in enumerate(("", "{", "[]", "3", "null", "[" * 100_000)):
        put(summary, f"{STUDIES}/{number}.parquet", changed(spec, spec_hash=f"ab{number}", spec_json=text))
    put(summary, f"{STUDIES}/{'0' * 16}.parquet", changed(spec, spec_hash="cd"))
    put(summary, "probes/study=wiki/p.parquet", pa.table({"kind": ["speed"], "state": ["COMPLETED"]}))
    assert query.evaluations(summary, "wiki") == before[0]
    assert query.studies(summary) == before[1]
    assert query.probes(summary).num_rows == 0
    assert len({one.name for one in problems if one.name.endswith(".parquet")}) == 3 + 7 + 1


@pytest.mark.filterwarnings("ignore::cluster.summary.problems.SummaryWarning")
@pytest.mark.parametrize("spec_json", [None, '{"axes": {}}', "{"])
def test_a_study_without_a_spec_has_points_and_no_verdict(
    spec_json: str | None, summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [name] = summary.store.names(STUDIES)
    put(summary, name, changed(some(summary, "studies"), spec_json=spec_json))
    done = list(everything(summary, tmp_path, monkeypatch))
    assert done[1].exit_code == 0
    assert "has no spec in" in str(done[3].exception)
    assert "has no spec in" in str(done[7].exception)
    (Path(summary.uri) / name).unlink()
    done = list(everything(summary, tmp_path / "again", monkeypatch))
    assert done[1].exit_code == 0
    assert "has no spec in" in str(done[3].exception)


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_study_without_any_loss_is_shown(
    value: float | None, summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table, column in ((TRIALS, "best_validation_loss"), (EVALUATIONS, "validation_loss")):
        for name in summary.store.names(table):
            put(summary, name, encode(changed(decode(summary.store.read(name)).rows(), **{column: value})))
    for done in everything(summary, tmp_path, monkeypatch):
        assert getattr(done, "exception", None) is None


@pytest.mark.parametrize("column", ["started_at", "ended_at", "global_batch", "seed", "learning_rate", "micro_batch"])
def test_answers_that_lack_what_a_verdict_needs_are_told(
    column: str, summary: Summary, problems: list[Problem]
) -> None:
    name = summary.store.names(TRIALS)[0]
    put(summary, name, encode(changed(some(summary), **{column: None})))
    query.trials(summary)
    told = ["1 of its rows lack an axis or the time: they are read, but no verdict uses them"]
    assert [one.what for one in problems] == (told if column != "micro_batch" else [])
    specs, trials, evaluations = query.specs(summary, "wiki"), query.trials(summary), query.evaluations(summary)
    assert judge(specs, trials.filter(pc.equal(trials["study"], "wiki")), evaluations).groups


MARKERS: dict[str, bytes] = {
    "cut": b"{",
    "empty": b"",
    "list": b"[]",
    "number": b"3",
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe",
    "of another attempt": b'{"study": "wiki", "trial_id": "0e0e", "attempt": 7}',
    "types": b'{"study": "wiki", "trial_id": "0f0f", "attempt": 1, "seed": "three"}',
    "time": b'{"study": "wiki", "trial_id": "0f0f", "attempt": 1, "started_at": "yesterday"}',
    "number for time": b'{"study": "wiki", "trial_id": "0f0f", "attempt": 1, "started_at": 7}',
    "local time": b'{"study": "wiki", "trial_id": "0f0f", "attempt": 1, "started_at": "2026-01-01T00:00:00"}',
}


@pytest.mark.parametrize("case", MARKERS)
def test_a_damaged_marker_is_passed_over_and_named(case: str, summary: Summary, problems: list[Problem]) -> None:
    summary.attempt_started("wiki", "0d0d", 1, {})
    put(summary, "attempts/study=wiki/0f0f-1.json", MARKERS[case])
    assert [row["trial_id"] for row in summary.lost_attempts("wiki")] == ["0d0d"]
    assert [one.name for one in problems] == ["attempts/study=wiki/0f0f-1.json"]
    assert summary.next_attempt("wiki", "0f0f") == 2, "the attempt began"


def test_a_marker_of_a_newer_version_is_read(summary: Summary, problems: list[Problem]) -> None:
    newer = {"study": "wiki", "trial_id": "0f0f", "attempt": 1, "mood": {"good": 1}, "global_batch": 16}
    put(summary, "attempts/study=wiki/0f0f-1.json", json.dumps(newer).encode())
    [row] = summary.lost_attempts("wiki")
    assert row == {"study": "wiki", "trial_id": "0f0f", "attempt": 1, "global_batch": 16}
    summary.write_trial({**row, "state": "LOST"})
    assert problems == []


def test_compacted_summaries_of_two_machines_are_joined_and_it_is_said(
    tmp_path: Path, tables: Tables, problems: list[Problem]
) -> None:
    studies, trials, _ = tables
    rows = trials.to_pylist()
    machines = [Summary(str(tmp_path / name)) for name in ("a", "b")]
    for machine, half in zip(machines, (rows[::2], rows[1::2]), strict=True):
        for row in studies.to_pylist():
            machine.write_study(row)
        for row in half:
            machine.write_trial(row)
        compact(machine, "simulated")
    # The second compaction of one says that it replaces the first, of which the other machine has its own.
    machines[0].write_trial({**rows[0], "trial_id": "0f0f"})
    compact(machines[0], "simulated")
    merged = Summary(str(tmp_path / "merged"), note=problems.append)
    for machine in machines:
        for name in machine.store.names():
            merged.store.write(name, machine.store.read(name))
    assert query.trials(merged).num_rows == len(rows) + 1
    [problem] = problems
    assert problem.name == "trials/study=simulated/whole.000000001.parquet"
    assert f"{len(rows[1::2])} of its rows are in no newer compacted file" in problem.what
    compact(merged, "simulated")
    problems.clear()
    assert len(merged.store.names("trials/")) == 1
    assert query.trials(merged).num_rows == len(rows) + 1
    assert problems == []


def test_a_compacted_summary_that_was_copied_over_another_is_said_to_lack_rows(tmp_path: Path, tables: Tables) -> None:
    studies, trials, _ = tables
    rows = trials.to_pylist()
    merged = Summary(str(tmp_path / "merged"))
    for name, half in (("a", rows[::2]), ("b", rows[1::2])):
        machine = Summary(str(tmp_path / name))
        machine.write_study(studies.to_pylist()[0])
        for row in half:
            machine.attempt_started("simulated", row["trial_id"], 1, {})
            machine.write_trial(row)
        compact(machine, "simulated")
        for one in machine.store.names():
            merged.store.write(one, machine.store.read(one))
    assert query.trials(merged).num_rows == len(rows[1::2])
    for options in ([], ["--verdict"]):
        arguments = ["simulated", *options, "--summary", merged.uri]
        done = CliRunner().invoke(results_command, arguments, standalone_mode=False)
        first = min(row["trial_id"] for row in rows[::2])
        assert f"{len(rows[::2])} attempts of simulated have no row yet ({first}-1, " in done.stderr


def test_a_person_reads_each_problem_once_on_stderr(summary: Summary) -> None:
    put(summary, f"{TRIALS}/bad\x1b[31m-1.parquet", b"no table")
    for number in range(20):
        put(summary, f"studies/{number:02}.parquet", b"no table")
    code = "import sys; from cluster.cli import main; sys.argv[0] = 'batchscope'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "results", "--summary", summary.uri], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "wiki" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1 + 10 + 1
    assert sum(f"batchscope: {summary.uri}/{TRIALS}/bad?[31m-1.parquet: left out" in line for line in lines) == 1
    assert f"batchscope: {summary.uri}/studies: 10 more files are left out or in doubt" in lines
    assert "\x1b" not in done.stderr


def test_the_page_and_the_list_name_what_is_left_out_without_its_place(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(summary, f"{TRIALS}/<b>-1.parquet", b"no table")
    *_, listing, as_json, page_of_study, beside, _ = everything(summary, tmp_path, monkeypatch)
    told = "left out: it cannot be read as Parquet"
    assert f"{TRIALS}/&lt;b&gt;-1.parquet: {told}" in listing.text
    assert as_json.json()["problems"][0].startswith(f"{TRIALS}/<b>-1.parquet: {told}")
    assert told in page_of_study.text
    assert beside.json()["problems"] == []
    assert summary.uri not in listing.text + as_json.text + page_of_study.text
    assert told in (tmp_path / "page.html").read_text()

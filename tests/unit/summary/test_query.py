"""Reading the summary: latest attempts, curves, points with honest means, and a person's condition."""

import dataclasses
import math
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.summary import query, sandbox, sandboxed, tables
from cluster.summary.store import Summary
from cluster.summary.where import where
from tests.support import unboxed
from trainer.errors import InputError

POINT = {"global_batch": 16, "learning_rate": 0.001, "optimizer": "adam", "dtype": "float32"}


def trial(number: int, **columns: Any) -> dict[str, Any]:
    """A completed trial; its seed and its id are its number."""
    row = {"study": "wiki", "trial_id": f"{number:04x}", "attempt": 1, "state": "COMPLETED", "seed": number, **POINT}
    return {**row, "best_validation_loss": 0.5, **columns}


def table(*rows: dict[str, Any]) -> pa.Table:
    return tables.table_of("trials", rows)


def one_point(*rows: dict[str, Any], **options: Any) -> dict[str, Any]:
    (point,) = query.points(table(*rows), **options).to_pylist()
    return point


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "study": st.sampled_from(["a", "b"]),
            "trial_id": st.sampled_from(["1", "2", "3"]),
            "attempt": st.integers(1, 4),
            "state": st.sampled_from(tables.STATES),
            "seed": st.integers(0, 9),
        }
    ),
    unique_by=lambda row: (row["study"], row["trial_id"], row["attempt"]),
)


def highest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as `latest`, the slow way."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["study"], row["trial_id"])
        if key not in best or row["attempt"] > best[key]["attempt"]:
            best[key] = row
    return [best[key] for key in sorted(best)]


@pytest.mark.slow
@settings(deadline=None)
@given(ROWS)
def test_latest_and_finished_are_one_row_a_trial(rows: list[dict[str, Any]]) -> None:
    some = table(*rows)
    columns = ["study", "trial_id", "attempt", "state", "seed"]
    assert query.latest(some).select(columns).to_pylist() == highest(rows)
    answers = [row for row in rows if row["state"] in ("COMPLETED", "STOPPED", "DIVERGED", "OUT_OF_MEMORY")]
    assert query.finished(some).select(columns).to_pylist() == highest(answers)


def test_the_states_are_those_of_the_trainer() -> None:
    from trainer.report import State

    assert set(tables.STATES) == {str(state) for state in State}


def test_curves_keep_the_highest_attempt_of_each_update() -> None:
    rows = [
        {"study": "wiki", "trial_id": "1", "attempt": attempt, "update": update, "validation_loss": float(attempt)}
        for attempt, updates in ((2, (30, 40, 50)), (1, (10, 20, 30, 40)))
        for update in updates
    ]
    found = query.curves(tables.table_of("evaluations", rows)).select(["update", "attempt"]).to_pylist()
    assert [(row["update"], row["attempt"]) for row in found] == [(10, 1), (20, 1), (30, 2), (40, 2), (50, 2)]


def test_mean_and_sample_deviation_over_seeds() -> None:
    losses = [0.61, 0.58, 0.64]
    point = one_point(*(trial(n, best_validation_loss=loss, updates=n) for n, loss in enumerate(losses)))
    assert point["best_validation_loss_mean"] == pytest.approx(statistics.mean(losses), rel=1e-12)
    assert point["best_validation_loss_sd"] == pytest.approx(statistics.stdev(losses), rel=1e-12)
    assert point["updates_mean"] == 1.0
    assert (point["seeds"], point["trials"], point["completed"]) == (3, 3, 3)
    assert {name: point[name] for name in POINT} == POINT


def test_one_seed_has_no_deviation() -> None:
    point = one_point(trial(0))
    assert point["best_validation_loss_mean"] == 0.5
    assert point["best_validation_loss_sd"] is None


@pytest.mark.parametrize("state", [state for state in tables.STATES if state != "COMPLETED"])
def test_what_is_not_completed_is_counted_and_not_averaged(state: str) -> None:
    point = one_point(trial(0), trial(1), trial(2, state=state, best_validation_loss=99.0, updates=7))
    assert point["best_validation_loss_mean"] == 0.5
    assert point["best_validation_loss_sd"] == 0.0
    assert point["updates_mean"] is None
    assert (point["seeds"], point["trials"], point["completed"], point[state.lower()]) == (2, 3, 2, 1)


def test_a_point_without_a_completed_trial_is_there_without_means() -> None:
    point = one_point(trial(0, state="DIVERGED", best_validation_loss=math.nan))
    assert point["best_validation_loss_mean"] is None
    assert (point["seeds"], point["diverged"]) == (0, 1)


def test_a_mean_is_over_all_completed_seeds_or_null() -> None:
    point = one_point(trial(0, test_loss=0.4), trial(1, test_loss=0.5), trial(2))
    assert point["test_loss_mean"] is None
    assert point["test_loss_sd"] is None


@pytest.mark.slow
def test_only_the_latest_attempt_counts_also_under_a_condition() -> None:
    first = trial(0, state="LOST", best_validation_loss=9.0)
    point = one_point(first, trial(0, attempt=2))
    assert (point["trials"], point["lost"], point["best_validation_loss_mean"]) == (1, 0, 0.5)
    assert query.points(table(first, trial(0, attempt=2)), where="state = 'LOST'").num_rows == 0


def test_points_are_sorted_by_number_and_studies_are_not_mixed() -> None:
    rows = [trial(n, global_batch=batch) for n, batch in enumerate((128, 16, 1000, 17))]
    found = query.points(table(*rows, trial(9, study="other", global_batch=16)))
    assert list(zip(found["study"].to_pylist(), found["global_batch"].to_pylist(), strict=True)) == [
        ("other", 16),
        ("wiki", 16),
        ("wiki", 17),
        ("wiki", 128),
        ("wiki", 1000),
    ]


def test_by_some_axes_and_what_that_mixes() -> None:
    rows = [
        trial(0),
        trial(1, seed=0, learning_rate=0.01, best_validation_loss=0.7),
        trial(2, global_batch=32),
    ]
    by_batch = query.points(table(*rows), by=["global_batch"])
    assert by_batch["best_validation_loss_mean"].to_pylist() == [pytest.approx(0.6), 0.5]
    assert by_batch["seeds"].to_pylist() == [1, 1]
    assert query.mixes_trials(by_batch)
    assert not query.mixes_trials(query.points(table(*rows)))
    assert query.points(table(*rows), by=["seed", "global_batch"]).column_names[:3] == ["study", "seed", "global_batch"]
    with pytest.raises(InputError, match=r"no axis 'globalbatch' \(did you mean 'global_batch'\?\)"):
        query.points(table(*rows), by=["globalbatch"])


def test_nothing_has_no_points() -> None:
    nothing = query.points(tables.TRIALS.empty_table())
    assert nothing.num_rows == 0
    assert "best_validation_loss_sd" in nothing.column_names
    assert not query.mixes_trials(nothing)
    assert query.states(tables.TRIALS.empty_table())["trials"] == 0


def test_the_lowest_point_is_of_finite_means() -> None:
    losses = {8: math.nan, 16: 0.4, 32: 0.3, 64: 0.3, 128: None}
    rows = [trial(n, global_batch=b, best_validation_loss=loss) for n, (b, loss) in enumerate(losses.items())]
    (found,) = query.lowest(query.points(table(*rows))).to_pylist()
    assert found["global_batch"] == 32
    assert query.lowest(query.points(table(rows[0], rows[-1]))).num_rows == 0


SOME = table(
    trial(0, started_at=datetime(2026, 1, 2, tzinfo=UTC), error="a; b -- c"),
    trial(1, global_batch=32, learning_rate=0.1),
    trial(2, global_batch=64, best_validation_loss=math.nan),
)


@pytest.mark.parametrize(
    ("condition", "seeds"),
    [
        ("global_batch in (16, 64) or learning_rate > 0.01", [0, 1, 2]),
        ("global_batch in (16, 64) and learning_rate < 0.01", [0, 2]),
        ("error = 'a; b -- c'", [0]),
        ("error like '%;%' -- a comment", [0]),
        ("started_at >= '2026-01-01' and started_at < timestamptz '2026-02-01 00:00:00+00'", [0]),
        ("error is null", [1, 2]),
        ("isnan(best_validation_loss)", [2]),
        ("extract(year from started_at) = 2026", [0]),
        ("false", []),
    ],
)
def test_a_condition_chooses_rows_and_changes_nothing(
    condition: str, seeds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    chosen = where(SOME, condition)
    assert chosen["seed"].to_pylist() == seeds
    assert chosen.schema == SOME.schema
    assert str(chosen.to_pylist()) == str([SOME.to_pylist()[seed] for seed in seeds])


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("globalbatch = 3", r"no column 'globalbatch' \(did you mean 'global_batch'\?\)"),
        ("global_batch =", "syntax error"),
        ("", "Parser Error"),
        ("global_batch", "neither true nor false but BIGINT"),
        ("16", "neither true nor false"),
        ("true; select 1", "more than one statement"),
        ("true) or (true", "syntax error"),
        ("true, false", "single expression"),
        ("true order by 1", "modifier"),
        ("sum(seed) > 1", "aggregates"),
        ("row_number() over () = 1", "window"),
        ("seed in (select 1)", "contains a query"),
        ("exists (from duckdb_settings())", "contains a query"),
        ("(select true)", "contains a query"),
        ("seed = (values (1))", "contains a query"),
        ("exists (select * from read_csv('/etc/passwd'))", "contains a query"),
        ("seed = 'x'", "Conversion Error"),
        ("nofunction(seed)", "nofunction"),
        ("seed = $1", "Error"),
    ],
)
def test_what_is_not_one_condition_is_refused_in_one_line(
    condition: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    with pytest.raises(InputError, match=message) as refused:
        where(SOME, condition)
    assert "\n" not in str(refused.value)


def test_even_a_query_could_read_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask", unboxed.ask)
    monkeypatch.setattr(sandboxed, "holds_a_query", lambda *_: False)
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    # The last one is a local variable of `chosen`, which DuckDB could find by its name.
    for source in (f"read_csv('{file}')", f"'{file}'", f"glob('{tmp_path}/*')", '"table"'):
        with pytest.raises(InputError):
            where(SOME, f"exists (from {source})")


@pytest.mark.slow
def test_a_condition_that_takes_too_much_is_ended() -> None:
    # DuckDB itself would take 15 GB for it, whatever its `memory_limit` says.
    with pytest.raises(InputError, match="it needs more than the 2 GiB of memory"):
        where(SOME, "list_sum(range(400000000)) > seed")


def test_the_overview_has_a_row_for_each_study(tmp_path: Path) -> None:
    summary = Summary(str(tmp_path))
    spec = {"study": "wiki", "spec_hash": "a1", "trials": 9, "task": "classification", "data": "/d"}
    summary.write_study({**spec, "started_at": datetime(2026, 1, 1, tzinfo=UTC)})
    summary.write_study(
        {**spec, "spec_hash": "0b", "trials": 12, "data": "/e", "started_at": datetime(2026, 1, 2, tzinfo=UTC)}
    )
    summary.write_study({**spec, "study": "begun", "started_at": datetime(2026, 1, 1, tzinfo=UTC)})
    for row in (trial(0), trial(1, global_batch=32, best_validation_loss=0.4), trial(2, state="FAILED")):
        summary.write_trial(row)
    summary.write_trial(trial(3, study="nospec"))
    columns = ["study", "asked", "trials", "failed", "lowest_validation_loss_mean", "lowest_global_batch", "data"]
    assert [tuple(row.values()) for row in query.overview(summary).select(columns).to_pylist()] == [
        ("begun", 9, None, None, None, None, "/d"),
        ("nospec", None, 1, 0, 0.5, 16, None),
        ("wiki", 12, 3, 1, 0.4, 32, "/e"),
    ]
    assert query.asked(summary, "wiki") == 12
    assert query.asked(summary, "nospec") is None
    for unknown in ("wikki", "../wiki"):
        with pytest.raises(InputError, match=rf"no study '{unknown}'.*did you mean 'wiki'"):
            query.asked(summary, unknown)


def test_a_study_started_when_it_was_run_first(tmp_path: Path) -> None:
    summary = Summary(str(tmp_path))
    first, second, last = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))
    spec = {"study": "wiki", "spec_hash": "a1", "description": "why", "tags": "a, b"}
    summary.write_study({**spec, "declared_at": second, "started_at": second, "spec_hash": "b2", "tags": None})
    summary.write_study({**spec, "declared_at": first, "started_at": last})
    summary.write_study({"study": "older", "spec_hash": "a1", "started_at": second})
    columns = ["study", "started_at", "last_started_at", "description", "tags"]
    assert [tuple(row.values()) for row in query.overview(summary).select(columns).to_pylist()] == [
        ("older", second, second, None, None),
        ("wiki", first, last, "why", "a, b"),
    ]


def test_a_summary_is_a_value() -> None:
    assert dataclasses.is_dataclass(Summary)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Summary("/a").uri = "/b"  # type: ignore[misc]

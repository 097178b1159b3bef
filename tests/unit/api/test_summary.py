"""`batchscope.Summary`: every answer of the summary as a table or a verdict, shown in a notebook, without printing."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import batchscope
from cluster.summary.store import Summary
from tests.support import simulated
from tests.support.stored import store


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A study `wiki` of two trials at B = 16 and 17, and one evaluation of each; its data has a hostile name."""
    stored = Summary(str(tmp_path / "summary"))
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    stored.write_study(
        {"study": "wiki", "spec_hash": "a1", "trials": 2, "task": "classification", "data": "<b>x", "started_at": now}
    )
    for number, batch in enumerate((16, 17)):
        trial = {"study": "wiki", "trial_id": f"{number}", "attempt": 1}
        axes = {"global_batch": batch, "learning_rate": 0.01, "optimizer": "adam", "dtype": "float32", "seed": 0}
        stored.write_trial(
            {
                **trial,
                **axes,
                "state": "COMPLETED",
                "best_validation_loss": 0.5 + number,
                "started_at": now,
                "ended_at": now,
            }
        )
        stored.write_evaluations([{**trial, "update": 1, "examples": batch, "validation_loss": 0.5 + number}], part=0)
    return stored.uri


@pytest.mark.slow
def test_each_question_has_its_table(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    summary = batchscope.Summary(uri)
    assert summary.studies().to_pylist()[0]["asked"] == 2
    assert summary.trials("wiki")["global_batch"].to_pylist() == [16, 17]
    assert summary.trials().num_rows == 2
    assert len(summary.evaluations("wiki")) == 2
    assert summary.points("wiki")["best_validation_loss_mean"].to_pylist() == [0.5, 1.5]
    assert summary.points("wiki", by=["optimizer"]).num_rows == 1
    assert summary.points("wiki", where="global_batch = 17").num_rows == 1
    assert summary.sql("select max(global_batch) as largest from trials").to_pylist() == [{"largest": 17}]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("question", ["trials", "evaluations", "points", "verdict"])
def test_a_study_that_is_not_there_is_refused_with_the_nearest(uri: str, question: str) -> None:
    with pytest.raises(batchscope.InputError, match="did you mean 'wiki'"):
        getattr(batchscope.Summary(uri), question)("wikk")


def test_a_table_is_read_by_whoever_reads_arrow(uri: str) -> None:
    points = batchscope.Summary(uri).points("wiki")
    assert isinstance(points.table, pa.Table)
    assert pa.table(points).equals(points.table)
    frame = points.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == points.column_names
    [(lowest,)] = duckdb.sql("select min(best_validation_loss_mean) from points").fetchall()
    assert lowest == 0.5


def test_a_table_shows_its_first_rows_and_escapes_what_people_named(uri: str) -> None:
    summary = batchscope.Summary(uri)
    html = summary.studies()._repr_html_()
    assert html.count("<tr>") == 2
    assert "&lt;b&gt;x" in html
    assert "<b>x" not in html
    assert repr(summary.points("wiki")).startswith("global batch")
    many = batchscope.Table(pa.table({"number": range(1000)}), "numbers")
    assert "the first 20 of 1,000 rows" in many._repr_html_()
    assert many._repr_html_().count("<tr>") == 21
    assert repr(many).count("\n") == 22


@pytest.mark.slow
def test_a_verdict_reads_as_the_command_prints_it() -> None:
    from cluster.analysis.verdict import judge
    from cluster.report.verdict import sentences

    judged = judge(*simulated.study(simulated.spec_of(), simulated.World()))
    verdict = batchscope.Verdict(judged)
    assert verdict.sentences == sentences(judged)
    assert str(verdict).splitlines()[: len(verdict.sentences)] == verdict.sentences
    assert repr(verdict).startswith("global batch")
    assert verdict.table["global_batch"].to_pylist() == [cell.global_batch for cell in judged.groups[0].cells]
    html = verdict._repr_html_()
    assert html.index("<p>") < html.index("<table")
    assert '"sentences"' in verdict.to_json()


def test_a_notebook_has_each_answer_as_html_and_as_text(uri: str) -> None:
    table = batchscope.Summary(uri).studies()
    assert table._repr_mimebundle_() == {"text/plain": repr(table), "text/html": table._repr_html_()}
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><text>&lt;b&gt;</text></svg>'
    plot = batchscope.Plot("losses", f'<?xml version="1.0"?>{drawing}')
    bundle = plot._repr_mimebundle_()
    assert bundle["text/plain"] == "Plot('losses')"
    assert drawing in bundle["text/html"]
    assert "<?xml" not in bundle["text/html"]


@pytest.mark.slow
def test_the_plots_of_a_study_are_drawn_without_script(tmp_path: Path) -> None:
    store(tmp_path, simulated.study(simulated.spec_of(), simulated.World()))
    plots = batchscope.Summary(tmp_path).plots("simulated")
    assert plots
    for name, plot in plots.items():
        assert plot.name == name
        assert "<script" not in plot._repr_html_()
        assert plot._repr_html_().endswith("</svg></div>")

"""`batchscope export --tables` and `--plots`: the files hold what the query says, exactly, and nothing is replaced."""

import json
import math
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cluster.cli.export import command
from cluster.exports import plots
from cluster.report.page.page import charts
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import SCHEMAS
from tests.support import simulated
from tests.support.stored import changed, store
from trainer.errors import InputError, NotReadyError

NASTY = '=1+1 "quoted", two\nlines; \x1b[31mKünste'
SVG = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 284" width="360" '
    'height="284"><style>.ink { fill: #123456; font-family: system-ui, sans-serif }</style>'
    '<text class="ink" x="20" y="90" font-size="60">Loss</text></svg>'
)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A small simulated study, and another with everything that is awkward in a file."""
    rates = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
    spec = simulated.spec_of(axes={"global_batch": [64, 512], "learning_rate": rates, "seeds": 2})
    found = store(tmp_path_factory.mktemp("summary"), simulated.study(spec, simulated.World()))
    awkward = {"error": NASTY, "device": "", "learning_rate": 0.1 + 0.2, "seed": 2**53 + 1}
    awkward |= {"best_validation_loss": math.nan, "test_loss": math.inf}
    started_at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    row = {"study": "2024", "trial_id": "e1", "attempt": 1, "state": "FAILED", "started_at": started_at}
    found.write_trial({**row, **awkward})
    probe = {"study": "simulated", "spec_hash": "a", "probed_at": started_at, "kind": "memory", "state": "COMPLETED"}
    fit = {"study": "simulated", "fit_id": "f1", "origin": "foreign", "started_at": started_at, "global_batch": 64}
    found.write_fit([{**fit, "epoch": epoch, "training_loss": epoch / 3} for epoch in (1, 2)], part=0)
    found.write_probe([{**probe, "global_batch": batch, "fit_error": batch / 3} for batch in (64, 512)])
    return found


def export(*arguments: str, summary: Summary) -> Result:
    return CliRunner().invoke(command, [*arguments, "--summary", summary.uri], standalone_mode=False)


def refusal(*arguments: str, summary: Summary) -> str:
    problem = export(*arguments, summary=summary).exception
    assert isinstance(problem, InputError | NotReadyError), problem
    assert "\n" not in str(problem)
    return str(problem)


def asked(summary: Summary, study: str | None) -> dict[str, pa.Table]:
    trials = query.trials(summary, study)
    return {
        "studies": query.studies(summary, study),
        "trials": trials,
        "evaluations": query.evaluations(summary, study),
        "probes": query.probes(summary, study),
        "fits": query.fits(summary, study),
        "points": query.points(trials),
    }


def same(one: pa.Table, other: pa.Table) -> bool:
    """Equal to the type and the bit, a NaN being a NaN."""
    return one.schema.equals(other.schema) and repr(one.to_pylist()) == repr(other.to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize("study", ["simulated", None])
def test_tables_read_back_as_they_are_asked(summary: Summary, tmp_path: Path, study: str | None) -> None:
    arguments = [study] if study else []
    done = export(*arguments, "--tables", str(tmp_path / "all"), summary=summary)
    assert done.exception is None
    wanted = asked(summary, study)
    assert set(wanted) == {*SCHEMAS, "points"}
    written = {Path(line).name for line in done.stdout.splitlines()}
    assert written == {path.name for path in (tmp_path / "all").iterdir()}
    assert written == {*(f"{name}.parquet" for name in (*SCHEMAS, "points")), "verdict-simulated.json"}
    for name, rows in wanted.items():
        read = pq.read_table(str(tmp_path / "all" / f"{name}.parquet"))
        assert rows.num_rows
        assert same(read.replace_schema_metadata(), rows), name
    export(*arguments, "--tables", str(tmp_path / "csv"), "--format", "csv", summary=summary)
    for name, rows in wanted.items():
        read = pacsv.read_csv(
            str(tmp_path / "csv" / f"{name}.csv"),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=rows.schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        assert same(read, rows), name


def test_pandas_and_duckdb_read_them(summary: Summary, tmp_path: Path) -> None:
    for form in ("parquet", "csv"):
        export("--tables", str(tmp_path), "--format", form, "--force", summary=summary)
    wanted = query.trials(summary)
    frame = pd.read_parquet(tmp_path / "trials.parquet")
    assert frame["started_at"].tolist() == [pd.Timestamp(at) for at in wanted["started_at"].to_pylist()]
    for name in ("trials.parquet", "trials.csv"):
        reader = "read_csv" if name.endswith("csv") else "read_parquet"
        found = duckdb.sql(
            f"select error, seed, learning_rate from {reader}('{tmp_path}/{name}') where state = 'FAILED'"
        )
        assert found.fetchall() == [(NASTY, 2**53 + 1, 0.1 + 0.2)]
    frame = pd.read_csv(tmp_path / "trials.csv", converters={"best_validation_loss": float})
    ended = frame[frame.study == "simulated"]
    losses = [row["best_validation_loss"] for row in wanted.to_pylist() if row["study"] == "simulated"]
    assert ended["best_validation_loss"].tolist() == losses


def test_the_verdict_is_that_of_results(summary: Summary, tmp_path: Path) -> None:
    from cluster.cli.results import command as results

    export("simulated", "--tables", str(tmp_path), summary=summary)
    options = ["simulated", "--verdict", "--format", "json", "--summary", summary.uri]
    shown = json.loads(CliRunner().invoke(results, options).stdout)
    assert json.loads((tmp_path / "verdict-simulated.json").read_text()) == shown
    assert shown["groups"]


def test_a_language_models_points_have_their_perplexity(tmp_path: Path) -> None:
    spec = simulated.spec_of(axes={"global_batch": [64], "learning_rate": 0.01, "seeds": 1}, protocol=None)
    specs, *rest = simulated.study(spec, simulated.World())
    found = store(tmp_path / "summary", (changed(specs, task="language_model"), *rest))
    export("simulated", "--tables", str(tmp_path), summary=found)
    (point,) = pq.read_table(str(tmp_path / "points.parquet")).to_pylist()
    assert point["perplexity"] == math.exp(point["best_validation_loss_mean"])


def test_files_that_are_there_stay_unless_forced(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "points.parquet").write_text("mine")
    assert "points.parquet exists already" in refusal("simulated", "--tables", str(tmp_path), summary=summary)
    assert [path.name for path in tmp_path.iterdir()] == ["points.parquet"]
    assert export("simulated", "--tables", str(tmp_path), "--force", summary=summary).exception is None
    # Two rates confirmed, and six screened.
    assert pq.read_table(str(tmp_path / "points.parquet")).num_rows == 8
    (tmp_path / "file").write_text("")
    assert "cannot make the folder" in refusal("simulated", "--tables", f"{tmp_path}/file/x", summary=summary)


@pytest.mark.slow
def test_plots_are_the_pages_own_and_png_is_wide_enough_for_print(tmp_path: Path) -> None:
    charts = {"loss": SVG, "speed": SVG.replace("Loss", "Speed")}
    assert plots.names(charts, form="svg") == ["loss.svg", "speed.svg"]
    assert [content.decode() for content in plots.contents(charts, form="svg")] == list(charts.values())
    assert plots.names(charts, form="png") == ["loss.png", "speed.png"]
    loss, speed = plots.contents(charts, form="png")
    # PNG's header: the width and the height stand at bytes 16 to 24.
    assert [int.from_bytes(loss[at : at + 4]) for at in (16, 20)] == [1950, math.ceil(1950 * 284 / 360)]
    empty = next(plots.contents({"loss": SVG.replace("Loss", "")}, form="png"))
    assert len({loss, speed, empty}) == 3, "the text is not drawn"
    with pytest.raises(InputError, match="nothing to draw yet"):
        plots.names({}, form="svg")


@pytest.mark.slow
def test_every_chart_of_the_page_is_a_file(summary: Summary, tmp_path: Path) -> None:
    done = export("simulated", "--plots", str(tmp_path), summary=summary)
    assert done.exception is None
    drawn = charts(summary, "simulated")
    assert len(drawn) > 5
    assert [Path(line).name for line in done.stdout.splitlines()] == [f"{name}.svg" for name in drawn]
    assert {path.stem: path.read_text() for path in tmp_path.iterdir()} == drawn
    # What resvg does not understand it leaves out without a word: these are there.
    loss = drawn["loss"]
    parts = [re.sub(rf"<{name}.*?</{name}>", "", loss, flags=re.DOTALL) for name in ("text", "style", "circle")]
    assert len(set(plots.contents(dict(enumerate([loss, *parts])), form="png"))) == 4  # type: ignore[arg-type]


def test_png_without_its_library_or_a_font_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        assert plots.names({"loss": SVG}, form="svg")
        with pytest.raises(InputError, match=r"pip install 'batchscope\[images\]'"):
            plots.names({"loss": SVG}, form="png")
    monkeypatch.setattr(plots, "FONTS", ("No Such Font",))
    with pytest.raises(NotReadyError, match="fonts No Such Font, and this machine has none"):
        plots.names({"loss": SVG}, form="png")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("simulated --tables a --plots b", "--tables and --plots are different exports"),
        ("simulated -o m.keras --to tensorboard:x", "-o and --to are different exports"),
        ("simulated --tables a --at best", "--at works only with --trial or -o"),
        ("simulated --data d", "--data works only with --trial or -o"),
        ("simulated --to tensorboard:x --force", "--force works only with --trial or -o or --tables or --plots"),
        ("simulated --trial 1 -o m.keras --format csv", "--format works only with --tables or --plots"),
        ("simulated --tables a --format png", "--format png does not work with --tables: give parquet or csv"),
        ("simulated --plots a --format csv", "--format csv does not work with --plots: give svg or png"),
        ("simulated --to wandb:x", "neither mlflow:URI nor tensorboard:FOLDER"),
        ("simulated --to mlflow", "neither mlflow:URI nor tensorboard:FOLDER"),
        ("simulated --to tensorboard:s3://b/x", "must name a folder on this machine"),
        ("simulated --to mlflow:", "needs an address"),
        ("simulatid --tables a", "did you mean 'simulated'"),
        ("simulatid --to tensorboard:x", "did you mean 'simulated'"),
        ("--plots a", "name a STUDY"),
        ("", "name a STUDY"),
    ],
)
def test_mistakes_are_one_line(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert problem in refusal(*arguments.split(), summary=summary)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_summary_has_no_tables(tmp_path: Path) -> None:
    assert "there is no study in" in refusal("--tables", str(tmp_path / "a"), summary=Summary(str(tmp_path / "none")))


@pytest.mark.slow
def test_tables_need_neither_ray_nor_tensorflow_nor_mlflow() -> None:
    code = (
        "import sys, cluster.exports.tables, cluster.exports.mlflow, cluster.exports.tensorboard, cluster.exports.plots"
    )
    heavy = "{'ray', 'tensorflow', 'keras', 'boto3', 'mlflow', 'tensorboardX', 'resvg_py'}"
    code += f"\nprint(sorted({{name.partition('.')[0] for name in sys.modules}} & {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

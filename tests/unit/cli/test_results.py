"""`batchscope results`: stdout is the result in each format, stderr is talk, and a mistake is one line."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cluster.cli.results import command
from cluster.process.files import save
from cluster.report.points import POINTS, STUDIES, progress_line
from cluster.summary.store import Summary
from cluster.summary.tables import STATES
from cluster.text.formats import to_csv, to_json
from cluster.text.plain import plain
from cluster.text.table import to_text
from trainer.errors import InputError


@pytest.fixture
def summary(tmp_path: Path) -> str:
    """Two studies: `wiki` with three points, two seeds each, one trial diverged; `other` with nothing yet."""
    store = Summary(str(tmp_path / "summary"))
    spec = {"spec_hash": "a1", "trials": 8, "task": "classification", "data": "=cmd|'x'\x1b[31m!"}
    store.write_study({**spec, "study": "wiki", "started_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)})
    store.write_study({**spec, "study": "other", "started_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)})
    losses = {(128, 0): 0.5, (128, 1): 0.7, (16, 0): 0.44444, (16, 1): 0.55556, (1000, 0): 0.9, (1000, 1): None}
    for number, ((batch, seed), loss) in enumerate(losses.items()):
        store.write_trial(
            {
                "study": "wiki",
                "trial_id": f"{number}",
                "attempt": 1,
                "state": "DIVERGED" if loss is None else "COMPLETED",
                "global_batch": batch,
                "learning_rate": 0.001,
                "optimizer": "adam",
                "dtype": "float32",
                "seed": seed,
                "best_validation_loss": loss,
                "seconds_training": 12.345,
            }
        )
    return store.uri


def results(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def refusal(*arguments: str) -> str:
    result = results(*arguments)
    assert isinstance(result.exception, InputError), result
    assert result.stdout == ""
    return str(result.exception)


def test_the_table_is_aligned_and_says_what_it_does_not_say(summary: str) -> None:
    result = results("wiki", "--summary", summary)
    assert result.exception is None
    assert result.stderr == ""
    assert result.stdout == (
        "global batch  learning                             best val.    loss                       training"
        "  loss 95 %  loss 95 %   best val.\n"
        "        rows      rate  optimizer  dtype    seeds       loss      sd  completed  diverged         s"
        "    CI from      CI to  loss, best\n"
        "          16     0.001  adam       float32      2     0.5000  0.0786          2         0      12.3"
        "    -0.2060     1.2060      0.4444\n"
        "         128     0.001  adam       float32      2     0.6000  0.1414          2         0      12.3"
        "    -0.6706     1.8706      0.5000\n"
        "        1000     0.001  adam       float32      1     0.9000       -          1         1      12.3"
        "          -          -      0.9000\n"
        "6 of 8 trials ended: 5 completed, 1 diverged; 2 without a result yet (waiting, running or lost)\n"
        "lowest mean validation loss: global batch 16, learning rate 0.001, optimizer adam, dtype float32 (n=2 seeds); "
        "differences smaller than the deviation over seeds mean nothing\n"
    )


def test_a_language_model_has_its_perplexity_beside_the_loss(summary: str) -> None:
    newer = {"spec_hash": "a2", "trials": 8, "task": "language_model"}
    Summary(summary).write_study({**newer, "study": "wiki", "started_at": datetime(2026, 2, 2, 3, 4, tzinfo=UTC)})
    lines = results("wiki", "--summary", summary).stdout.splitlines()
    assert "perplexity" in lines[1]
    # e to the 0.5 and to the 0.6.
    assert "1.65" in lines[2]
    assert "1.82" in lines[3]


def test_the_list_of_studies(summary: str) -> None:
    lines = results("--summary", summary).stdout.splitlines()
    assert lines[2].split()[:3] == ["other", "8", "-"]
    assert lines[3].split() == [
        *("wiki", "8", "6", "0.5000", "16", "2", "5", "1", "classification", "2026-01-02", "03:04", "=cmd|'x'!")
    ]
    assert "\x1b" not in "".join(lines)


def test_json_is_an_object_with_its_version(summary: str) -> None:
    answer = json.loads(results("wiki", "--summary", summary, "--format", "json").stdout)
    assert (answer["schema_version"], answer["table"]) == (1, "points")
    assert [row["global_batch"] for row in answer["rows"]] == [16, 128, 1000]
    assert answer["rows"][2]["best_validation_loss_sd"] is None
    studies = json.loads(results("--summary", summary, "--format", "json").stdout)
    assert [row["study"] for row in studies["rows"]] == ["other", "wiki"]
    assert studies["rows"][0]["started_at"] == "2026-01-02T03:04:00+00:00"


def test_json_has_no_nan() -> None:
    answer = to_json(pa.table({"loss": [float("nan"), float("inf"), 0.5]}), name="points")
    assert [row["loss"] for row in json.loads(answer)["rows"]] == [None, None, 0.5]


def test_the_columns_that_programs_read_stay(summary: str) -> None:
    text = results("wiki", "--summary", summary, "--format", "csv").stdout
    assert text.splitlines()[0] == (
        "study,global_batch,learning_rate,optimizer,dtype,seeds,trials,"
        "completed,stopped,diverged,out_of_memory,failed,lost,cancelled,"
        "best_validation_loss_mean,best_validation_loss_sd,best_validation_accuracy_mean,best_validation_accuracy_sd,"
        "final_validation_loss_mean,final_validation_loss_sd,test_loss_mean,test_loss_sd,"
        "test_accuracy_mean,test_accuracy_sd,"
        "seconds_training_mean,examples_per_second_mean,updates_mean,examples_mean,epochs_mean,"
        "best_validation_loss_best,best_validation_loss_ci95_low,best_validation_loss_ci95_high,"
        "best_validation_accuracy_best,best_validation_accuracy_ci95_low,best_validation_accuracy_ci95_high,"
        "final_validation_loss_best,final_validation_loss_ci95_low,final_validation_loss_ci95_high,"
        "test_loss_best,test_loss_ci95_low,test_loss_ci95_high,"
        "test_accuracy_best,test_accuracy_ci95_low,test_accuracy_ci95_high,"
        "phase,budget,evaluate_every,clip_norm,stop_at_loss,settings"
    )


def test_csv_has_full_numbers_and_no_formulas(summary: str) -> None:
    (first, *_) = csv.DictReader(io.StringIO(results("wiki", "--summary", summary, "--format", "csv").stdout))
    assert float(first["best_validation_loss_sd"]) == pytest.approx(0.11112 / 2**0.5, rel=1e-12)
    assert first["test_loss_mean"] == ""
    (study, *_) = csv.DictReader(io.StringIO(results("--summary", summary, "--format", "csv").stdout))
    assert study["data"] == "'=cmd|'x'!"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\x1b[1m=", "\t="])
def test_a_text_that_a_spreadsheet_would_run(start: str) -> None:
    some = pa.table({"text": [f"{start}1"], "number": [-1.5]})
    assert to_csv(some).splitlines()[1] in {f"'{start[-1]}1,-1.5"}


@pytest.mark.parametrize(
    "text",
    ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07red", "\x1b]8;;http://x\x1b\\red", "r\x9bed", "re\u202ed", "r\re\nd"],
)
def test_a_text_commands_no_terminal(text: str) -> None:
    assert plain(text) == "red"
    assert to_text(pa.table({"task": [text]}), STUDIES).splitlines()[2] == "red"


def test_parquet_needs_a_file_and_a_file_is_whole(summary: str, tmp_path: Path) -> None:
    assert "-o FILE" in refusal("wiki", "--summary", summary, "--format", "parquet")
    file = tmp_path / "out.parquet"
    assert results("wiki", "--summary", summary, "--format", "parquet", "-o", str(file)).stdout == ""
    assert pq.read_table(str(file))["global_batch"].to_pylist() == [16, 128, 1000]
    results("wiki", "--summary", summary, "--format", "csv", "-o", str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == results("wiki", "--summary", summary, "--format", "csv").stdout
    for name in ("by.csv", "by.parquet"):
        results("wiki", "--summary", summary, "-o", str(tmp_path / name))
    assert (tmp_path / "by.csv").read_text() == (tmp_path / "out.csv").read_text()
    assert pq.read_table(str(tmp_path / "by.parquet")).equals(pq.read_table(str(file)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("by.csv", "by.parquet", "out.csv", "out.parquet", "summary"),
    ]
    missing = str(tmp_path / "missing" / "out.csv")
    assert f"cannot write {missing}" in refusal("wiki", "--summary", summary, "-o", missing)


def test_what_is_no_file_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    save(b"some", str(pipe))
    assert os.read(reader, 9) == b"some"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.slow
def test_where_and_by(summary: str) -> None:
    result = results("wiki", "--summary", summary, "--where", "global_batch in (16, 128)", "--by", "seed, dtype")
    assert [line.split()[:4] for line in result.stdout.splitlines()[2:4]] == [
        ["float32", "0", "1", "0.4722"],
        ["float32", "1", "1", "0.6278"],
    ]
    assert "several trials of one seed" in result.stderr
    nothing = results("wiki", "--summary", summary, "--where", "seed = 99")
    assert nothing.stderr == "--where matches no trial\n"
    assert nothing.stdout.startswith("6 of 8 trials ended")


@pytest.mark.slow
def test_mistakes_are_one_line(summary: str) -> None:
    assert "did you mean 'wiki'" in refusal("wikki", "--summary", summary)
    assert "did you mean 'seed'" in refusal("wiki", "--summary", summary, "--where", "sead = 1")
    assert "did you mean 'dtype'" in refusal("wiki", "--summary", summary, "--by", "dtyp")
    assert "did you mean 'seeds'" in refusal("wiki", "--summary", summary, "--sort", "-sedes")
    assert "did you mean 'trials'" in refusal("--summary", summary, "--columns", "study, trails")
    assert "for one whole study" in refusal("wiki", "--summary", summary, "--verdict", "--limit", "3")
    assert "leave those out" in refusal("--summary", summary, "--sql", "select 1", "--by", "seed")


def test_no_studies_yet(tmp_path: Path) -> None:
    result = results("--summary", str(tmp_path / "none"))
    assert (result.exception, result.stdout) == (None, "")
    assert "no studies in" in result.stderr
    answer = results("--summary", str(tmp_path / "none"), "--format", "json").stdout
    assert json.loads(answer)["rows"] == []
    assert not (tmp_path / "none").exists()


def test_a_narrow_terminal_gets_the_first_columns(summary: str) -> None:
    some = pa.table(
        {
            "global_batch": [16],
            "dtype": ["float32"],
            "seeds": [2],
            "best_validation_loss_mean": [0.5],
            "epochs_mean": [1.0],  # would fit, but what is before it does not
        }
    )
    assert to_text(some, POINTS, width=36).splitlines() == [
        "global batch",
        "        rows  dtype    seeds",
        "          16  float32      2",
        "(2 more columns in a wider terminal, or with --format csv)",
    ]


@pytest.mark.parametrize(
    ("counts", "asked", "line"),
    [
        ({}, 4, "0 of 4 trials ended; 4 without a result yet (waiting, running or lost)"),
        ({"trials": 4, "completed": 4}, 4, "4 of 4 trials ended: 4 completed"),
        ({"trials": 3, "out_of_memory": 3}, None, "3 trials ended: 3 out of memory"),
        ({"trials": 9, "completed": 9}, 4, "9 trials ended: 9 completed"),
    ],
)
def test_what_became_of_the_trials(counts: dict[str, Any], asked: int | None, line: str) -> None:
    none = dict.fromkeys(("trials", *(state.lower() for state in STATES)), 0)
    assert progress_line(none | counts, asked) == line


@pytest.mark.slow
def test_the_command_in_its_own_process(summary: str) -> None:
    script = (
        "import sys; from cluster.cli import batchscope; "
        f"batchscope(['results', 'wiki', '--summary', {summary!r}, '--format', 'csv'], standalone_mode=False); "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'ray', 'tensorflow', 'keras', 'boto3'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "\x1b" not in done.stdout
    script = (
        "import sys, cluster.cli; "
        f"sys.argv = ['batchscope', 'results', 'wiky', '--summary', {summary!r}]; cluster.cli.main()"
    )
    wrong = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("batchscope: there is no study 'wiky'")
    assert wrong.stderr.count("\n") == 1


def test_saved_trials_have_not_ended() -> None:
    counts = dict.fromkeys((state.lower() for state in STATES), 0) | {"trials": 6, "completed": 4, "cancelled": 2}
    assert progress_line(counts, 8) == (
        "4 of 8 trials ended: 4 completed; 4 without a result yet (waiting, running or lost); "
        "2 saved, which go on when the study is run again"
    )

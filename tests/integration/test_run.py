"""`batchscope run` as people use it: a study to its end, again, on two workers, in phases, and one that is refused."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.study.seeds import SCREEN_SEEDS
from cluster.summary import query
from cluster.summary.store import Summary
from tests.support.runs import COMMAND, begin, curve, finish, rows, run, summary_of
from tests.support.studies import LSTM

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]


def test_a_study_runs_once_and_is_there_to_be_asked(study: Callable[..., Path]) -> None:
    file = study(model=LSTM, resources={"lanes": 2, "workers": 1})
    first = run(file)
    assert first.stdout.startswith("global batch")
    assert "4 done, 0 running, 0 waiting" in first.stderr
    assert f"report tiny -o tiny.html --summary {file.parent / 'summary'}" in first.stderr
    found = rows(file)
    assert [row["state"] for row in found] == ["COMPLETED"] * 4
    assert {row["global_batch"] for row in found} == {17, 51}
    for row in found:
        assert row["updates"] == 6
        assert row["examples"] == 6 * row["global_batch"]
        assert row["ended_at"] > row["started_at"]
        assert 0 < row["padding_fraction"] < 1
        assert row["best_validation_loss"] <= row["final_validation_loss"]
        assert row["test_loss"] > 0
        assert row["peak_memory_bytes"] > 10**8
    assert len(curve(file)) == 8
    uri = summary_of(file)
    for table in ("trials", "evaluations"):
        assert [path.name for path in Path(uri, table, "study=tiny").iterdir()] == ["whole.000000001.parquet"]

    asked = subprocess.run(
        [*COMMAND, "results", "tiny", "--summary", uri, "--format", "json"], capture_output=True, text=True, check=True
    )
    assert json.loads(asked.stdout)["schema_version"] == 1


def test_two_workers_and_a_diverging_rate_after_which_the_study_goes_on(study: Callable[..., Path]) -> None:
    axes = {"global_batch": [17], "learning_rate": [1e38, 0.01], "seeds": 1}
    file = study(model=LSTM, axes=axes, resources={"lanes": 1, "workers": 2, "cpus_per_worker": 0.5})
    run(file)
    by_rate = {row["learning_rate"]: row for row in rows(file)}
    assert by_rate[0.01]["state"] == "COMPLETED"
    assert by_rate[0.01]["workers"] == 2
    assert by_rate[1e38]["state"] == "DIVERGED"
    assert "at update 1" in by_rate[1e38]["error"]


TUNED = {
    "model": LSTM,
    "axes": {"global_batch": [17, "full"], "learning_rate": [0.00003, 0.0001, 0.0003], "seeds": 2},
    "budget": {"updates": 400},
    "evaluate_every": {"updates": 50},
    "checkpoint_every_seconds": 0.2,
    "protocol": {"extensions": 1},
    "margin": {"validation_loss": 0.01},
    "resources": {"lanes": 2, "workers": 1},
}


def test_a_study_that_tunes_its_rates_goes_on_in_any_phase(study: Callable[..., Path]) -> None:
    file = study(**TUNED)
    process = begin(file)
    process.send_signal(signal.SIGINT)
    stderr = finish(process, status=130)
    assert "10 trials, 0 finished before" in stderr
    first = run(file)
    ended = [row for row in rows(file) if row["state"] == "COMPLETED"]
    # On this data a higher rate is better as far as these go: one more is tried, for both global batches.
    phases = [(row["phase"], row["global_batch"]) for row in ended]
    assert {phase: phases.count(phase) for phase in phases} == {
        ("screen", 17): 4,
        ("screen", 51): 4,
        ("confirm", 17): 2,
        ("confirm", 51): 2,
    }
    assert {row["seed"] for row in ended if row["phase"] == "screen"} == {SCREEN_SEEDS[0]}
    assert {row["seed"] for row in ended if row["phase"] == "confirm"} == {0, 1}
    for batch in (17, 51):
        screened = {
            row["learning_rate"]: row["best_validation_loss"]
            for row in ended
            if (row["phase"], row["global_batch"]) == ("screen", batch)
        }
        best = min(screened, key=lambda rate: screened[rate])
        assert {r["learning_rate"] for r in ended if (r["phase"], r["global_batch"]) == ("confirm", batch)} == {best}
    [asked] = query.studies(Summary(summary_of(file))).to_pylist()
    assert (asked["trials"], asked["margin"]) == (12, 0.01)
    again = run(file)
    # Nothing is left to do, so no lane was begun.
    assert "waiting" not in again.stderr
    assert "12 finished before" in again.stderr
    assert [row for row in rows(file) if row["state"] == "COMPLETED"] == ended
    assert again.stdout == first.stdout


COUPLED = '''
import keras


class Centred(keras.layers.Layer):
    """In training, what a row becomes depends on the rows beside it: a batch is not the sum of its parts."""

    def call(self, inputs, training=False):
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True) if training else inputs


def build(vocabulary_size, outputs):
    tokens = keras.Input([None], dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.Dense(outputs)(Centred()(keras.layers.GlobalAveragePooling1D()(x))))
'''


def test_a_model_that_couples_rows_is_refused_before_anything_is_trained(
    study: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "coupled.py").write_text(COUPLED)
    file = study(model={"factory": "coupled:build"})
    done = subprocess.run(
        [*COMMAND, "run", file.name], capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "the check failed: the layout changes the update, so nothing was trained" in done.stderr
    [row] = rows(file)
    assert row["state"] == "FAILED"
    assert "in micro-batches" in row["error"]
    assert not row["updates"]

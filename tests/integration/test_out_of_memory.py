"""A study whose workers run out of memory: the micro-batch halves, the trial goes on, and no number changes."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cluster.summary import query
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.support.runs import COMMAND
from tests.support.studies import write_study
from tests.support.undisturbed import curve as undisturbed_curve

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# Two workers share 51 rows as 25 and 26. The second alone runs out of memory in a micro-batch of 26 once there is a
# checkpoint; whoever is the first with one of 13 ends as C++ code does. Unless nothing is short.
SHORT = """
import glob
import os
import time

import keras
import tensorflow as tf


def spend(rows):
    # An attempt is to last for a few of its heartbeats after its first update, which compiles.
    time.sleep(0.05)
    saved = glob.glob(os.environ.get("SHORT") or "nowhere")
    if not any(int(name.rpartition("-")[2].partition(".")[0]) >= 12 for name in saved):
        return
    if rows == 26:
        raise MemoryError("not so many rows")
    if rows == 13:
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\\n")
        os.abort()


class Short(keras.layers.Layer):
    def call(self, inputs, training=False):
        if not training:
            return inputs
        with tf.control_dependencies([tf.numpy_function(spend, [tf.shape(inputs)[0]], [])]):
            return tf.identity(inputs)


def build(vocabulary_size, outputs):
    tokens = keras.Input([None], dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.Dense(outputs)(Short()(keras.layers.GlobalAveragePooling1D()(x))))
"""


def write(folder: Path) -> Path:
    """The study and its factory in the folder."""
    (folder / "short.py").write_text(SHORT)
    return write_study(
        folder,
        study="short",
        model={"factory": "short:build"},
        axes={"global_batch": ["full"], "learning_rate": 0.01, "seeds": 1},
        budget={"updates": 40},
        evaluate_every={"updates": 10},
        checkpoint_every_seconds=0.3,
        resources={"workers": 2, "lanes": 1, "cpus_per_worker": 0.5, "memory_gib": 4},
    )


def ran(folder: Path, **environment: str) -> Summary:
    """The summary of the study after it ran to its end."""
    command = [*COMMAND, "run", "study.yaml"]
    environ = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, cwd=folder, env=environ)
    assert done.returncode == 0, done.stderr
    assert "2 out of memory and resumed in smaller micro-batches" in done.stderr
    return Summary(str(folder / "summary"))


def curve(summary: Summary) -> list[tuple[int, float]]:
    rows = query.curves(query.evaluations(summary, "short")).to_pylist()
    return [(row["update"], row["validation_loss"]) for row in rows]


def test_whoever_runs_out_of_memory_all_go_on_in_half_the_rows_from_the_checkpoint(tmp_path: Path) -> None:
    write_prepared(tmp_path / "data")
    expected = undisturbed_curve(write(tmp_path), tmp_path)
    short = ran(tmp_path, SHORT=str(tmp_path / "summary" / "checkpoints" / "*" / "*" / "resume-*.json"))
    rows: list[dict[str, Any]] = sorted(query.trials(short).to_pylist(), key=lambda row: row["attempt"])
    told = [(row["attempt"], row["state"], row["micro_batch"], row["micro_batch_next"]) for row in rows]
    assert told == [(1, "OUT_OF_MEMORY", 26, 16), (2, "OUT_OF_MEMORY", 16, 8), (3, "COMPLETED", 8, None)]
    assert {row["trial_id"] for row in rows} == {trial for trial, _, _ in expected}
    assert "not so many rows" in rows[0]["error"]
    assert 0 < rows[0]["updates"] < 40
    assert "std::bad_alloc" in rows[1]["error"]
    assert rows[2]["seconds_resumed"] > 0
    assert all(row["peak_memory_bytes"] < 4 * 2**30 for row in (rows[0], rows[2]))

    found = curve(short)
    assert [update for update, _ in found] == [update for _, update, _ in expected]
    assert found[-1][0] == 40
    assert [loss for _, loss in found] == pytest.approx([loss for _, _, loss in expected], rel=1e-4)
    counted = query.states(query.trials(short))
    assert (counted["trials"], counted["completed"], counted["out_of_memory"]) == (1, 1, 0)

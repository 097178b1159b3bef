"""What another process has compiled is loaded in place of compiling, and gives the same digits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from cluster.lanes.failure import Fault, failure_of
from tests.support.runs import ROOT
from trainer.machine import compiled
from trainer.report import State

TRAINED = """
import hashlib, json, sys
from trainer.machine import compiled
folder = compiled.use(1) if sys.argv[1] == "kept" else None
import keras, numpy as np, tensorflow as tf
from trainer.machine import device
device.set_up(threads=1, gpus=0)
from trainer.model import recurrence
keras.utils.set_random_seed(0)
random = np.random.default_rng(0)
x = tf.constant(random.normal(size=(6, 9, 4)), tf.float32)
weights = [tf.Variable(random.normal(size=shape), dtype=tf.float32) for shape in ((4, 12), (12,), (3, 12))]
lengths = tf.constant([9, 7, 7, 3, 1, 0])

@tf.function(autograph=False)
def update():
    with tf.GradientTape() as tape:
        found = recurrence.states(x, lengths, *weights, every_token=False, strands=1)
        loss = tf.reduce_sum(found**2)
    for weight, gradient in zip(weights, tape.gradient(loss, weights)):
        weight.assign_sub(0.1 * gradient)

for _ in range(3):
    update()
if folder:
    compiled.seal(folder)
print(json.dumps({
    "digest": hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in weights)).hexdigest(),
    "written": {path.name: path.stat().st_mtime_ns for path in folder.glob("*.pb")} if folder else {},
}))
"""


def trained(cache: Path, way: str) -> tuple[str, dict[str, int]]:
    """The digest of what a new process computes, and what XLA wrote, with when."""
    environment = {**os.environ, "BATCHSCOPE_CACHE": str(cache), "TF_XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRAINED, way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["digest"], answer["written"]


def test_what_is_loaded_computes_what_was_compiled(tmp_path: Path) -> None:
    alone, _ = trained(tmp_path, "compiled")
    first, written = trained(tmp_path, "kept")
    # Forward and backward.
    assert len(written) == 2
    # XLA writes what it compiles: it has compiled nothing.
    assert trained(tmp_path, "kept") == (first, written)
    assert first == alone
    # One of them damaged: it is compiled again, and nothing else changes.
    damaged = next(path for path in tmp_path.rglob("*.pb") if path.name == min(written))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    last, again = trained(tmp_path, "kept")
    assert last == alone
    assert {name for name in written if again[name] != written[name]} == {damaged.name}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_no_lack_of_memory(workers: int) -> None:
    # As TensorFlow 2.21 says it.
    where = f"/home/you/.cache/batchscope/{compiled.FOLDER}/613b212dbc857f69/xla_compile_cache__1__XLA_CPU_JIT.pb.tmp"
    text = f"{where}; No space left on device\n\t [[{{{{node functional_1/lstm_0_1/PartitionedCall}}}}]]"
    failure = failure_of(tf.errors.ResourceExhaustedError(None, None, text), workers=workers)
    assert failure is not None
    assert (failure.state, failure.fault) == (State.FAILED, Fault.SURROUNDINGS)
    assert "make room there" in failure.error

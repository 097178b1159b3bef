"""`batchscope probe` as a person runs it: two workers that sum, a micro-batch that does not fit, and Ctrl-C."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster.summary import query
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.support.processes import heeding_ctrl_c

STUDY = """\
study: tiny
data: {folder}/data
summary: {folder}/summary
task: classification
model: {{embedding_units: 8, lstm_units: 32}}
axes: {{global_batch: [16, 17], learning_rate: 0.01, seeds: 1}}
budget: {{epochs: 1}}
resources: {{workers: 2, cpus_per_worker: 0.5, lanes: 1, memory_gib: 1.8}}
"""
# So many rows take over 1 GiB more than 8 of them.
LONGEST, ROWS = 500, 1200


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    write_prepared(folder / "data", train=ROWS, longest=LONGEST)
    file = folder / "study.yaml"
    file.write_text(STUDY.format(folder=folder))
    return file


def command(study_file: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "cluster.cli", "probe", str(study_file), *options]


@pytest.mark.tf
def test_memory_and_speed_of_two_workers_and_what_does_not_fit(study_file: Path) -> None:
    options = ("--micro-batch", f"8,{ROWS}", "--global-batch", "17", "--format", "json")
    done = subprocess.run(command(study_file, *options), capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    memory = [row for row in rows if row["kind"] == "memory"]
    assert [(row["micro_batch"], row["state"]) for row in memory] == [(8, "COMPLETED"), (ROWS, "OUT_OF_MEMORY")]
    limit = int(1.8 * 2**30)
    assert {row["memory_limit_bytes"] for row in rows} == {limit}
    assert 300 * 2**20 < memory[0]["peak_memory_bytes"] <= limit
    assert memory[0]["length"] >= LONGEST * 0.9
    assert memory[1]["error"]
    reading, unread = (row for row in rows if row["kind"] == "throughput")
    assert (reading["with_reading"], unread["with_reading"]) == (1, 0)
    assert (reading["global_batch"], reading["micro_batch"], reading["workers"]) == (17, 9, 2)
    assert reading["blocks"] >= 3
    assert 0 < reading["seconds_per_update_low"] <= reading["seconds_per_update"] <= reading["seconds_per_update_high"]
    assert reading["examples_per_second"] == pytest.approx(17 / reading["seconds_per_update"])
    assert 0 < reading["padding_fraction"] < 1
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    assert evaluations[0]["peak_memory_bytes"] >= memory[0]["peak_memory_bytes"]
    assert evaluations[1]["examples_per_second"] > 0
    summary = Summary(str(study_file.parent / "summary"))
    stored = query.probes(summary, "tiny").to_pylist()
    assert [row["peak_memory_bytes"] for row in stored] == [row["peak_memory_bytes"] for row in rows]
    assert {row["kernel_path"] for row in stored if row["state"] == "COMPLETED"} == {"xla"}


@pytest.mark.tf
def test_ctrl_c_leaves_no_process_and_no_row(study_file: Path) -> None:
    probe = subprocess.Popen(
        command(study_file), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=heeding_ctrl_c
    )
    try:
        us = psutil.Process(probe.pid)
        deadline = time.monotonic() + 60
        # Two workers and the next two: as many as there are while it measures.
        while len(children := us.children(recursive=True)) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        before = query.probes(Summary(str(study_file.parent / "summary")), "tiny").num_rows
        probe.send_signal(signal.SIGINT)
        assert probe.wait(30) == 130
    finally:
        probe.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert query.probes(Summary(str(study_file.parent / "summary")), "tiny").num_rows == before

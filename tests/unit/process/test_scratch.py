"""Temporary folders: gone with their block, kept while their process lives, and swept after it was killed."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.process import scratch, signals
from tests.support.processes import heeding_ctrl_c

HOLDING = """
import sys, time
from cluster.process import scratch
with scratch.folder("mine-", sys.argv[1]) as path:
    print(path, flush=True)
    time.sleep(60)
"""


def test_a_folder_goes_with_its_block_whatever_happens(tmp_path: Path) -> None:
    ended: list[str] = []
    with scratch.folder("mine-", str(tmp_path), end=ended.append) as path:
        Path(path, "file").write_text("x")
    with pytest.raises(ValueError), scratch.folder("mine-", str(tmp_path), end=ended.append):
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    assert ended[0] == path
    assert len(ended) == 2


def test_a_killed_process_leaves_its_folder_to_the_next_and_a_living_one_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "mine-of-somebody").mkdir()
    (tmp_path / "other-folder").mkdir()
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = process.stdout.readline().strip()
        with scratch.folder("mine-", str(tmp_path)):
            assert os.path.isdir(theirs)
        process.send_signal(signal.SIGKILL)
    assert os.path.isdir(theirs)
    with scratch.folder("mine-", str(tmp_path)) as ours:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            ["mine-of-somebody", "other-folder", os.path.basename(ours)]
        )


def test_a_folder_that_another_process_swept_while_it_was_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, swept = scratch._taken, list[str]()

    def sweep_first(lock: int) -> bool:
        if not swept:
            # Between the making of the file and its lock: the other one had it, and has given it up.
            swept.extend(path.name for path in tmp_path.iterdir())
            shutil.rmtree(tmp_path / swept[0])
        return taken(lock)

    monkeypatch.setattr(scratch, "_taken", sweep_first)
    with scratch.folder("mine-", str(tmp_path)) as path:
        assert os.path.isdir(path)
        assert os.path.basename(path) not in swept


STOPPING = """
import sys, time
from types import SimpleNamespace
from cluster.process import signals
from cluster.prepare import publish, sources
from cluster.measure import processes
from trainer.data.store import Folder
stored = SimpleNamespace(key="a.csv", name="a.csv", store=SimpleNamespace(fetch=lambda key, path: path.touch()))
signals.install()
with {block}:
    try:
        print("inside", flush=True)
        time.sleep(60)
    finally:
        print("stopping", flush=True)
        time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", ["publish._put(Folder(sys.argv[1]))", "sources.opened(stored)", "processes.lanes(None, 0)"]
)
def test_whoever_is_stopped_twice_leaves_no_folder(block: str, tmp_path: Path) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    command = [sys.executable, "-c", STOPPING.format(block=block), str(tmp_path / "data")]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=heeding_ctrl_c
    ) as process:
        assert process.stdout is not None
        for line in ("inside\n", "stopping\n"):
            assert process.stdout.readline() == line
            assert list(temporary.iterdir())
            # From when the line was written: by then the signal before was heard, however busy the machine is.
            time.sleep(signals.SECONDS_OF_ONE)
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert list(temporary.iterdir()) == []


def test_where_files_cannot_be_locked_a_folder_is_made_and_goes_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("cluster.process.scratch.fcntl.flock", unsupported)
    with scratch.folder("mine-", str(tmp_path)) as first, scratch.folder("mine-", str(tmp_path)) as second:
        assert {path.name for path in tmp_path.iterdir()} == {Path(first).name, Path(second).name}
    assert list(tmp_path.iterdir()) == []

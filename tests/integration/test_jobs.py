"""Studies handed to a real Ray head that asks for a token: submitted, followed, stopped, resumed, and nothing left.

The head needs what `ray[default]` installs. It runs on loopback, on free ports, in a folder of its own.
"""

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.process.ports import free_ports
from cluster.study.factory_code import sha256_of
from cluster.summary import query
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.support import models, studies, unhurried
from tests.support.keys import KEYS, holding
from tests.support.runs import MARK, processes_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]
BIN = Path(sys.executable).parent
ONE = {"axes": {"global_batch": [17], "learning_rate": 0.01, "seeds": 1}}
LONG = {**studies.LONG, **ONE, "model": {"factory": "unhurried:build"}}


@dataclass(frozen=True)
class RunningHead:
    """The address of a head's dashboard, and the file with its token."""

    url: str
    token_file: Path
    logs: Path


@pytest.fixture(scope="module")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHead]:
    """A head as `ray start` makes it; afterwards nothing of it runs."""
    import ray._private.utils

    missing = ray._private.utils.get_dashboard_dependency_error()
    assert missing is None, f"install what requirements.lock names (ray[default]): {missing}"
    token_file = tmp_path_factory.mktemp("token") / "token"
    token_file.write_text("0123456789abcdef" * 2)
    mark = str(token_file)
    # Sockets lie in it, and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="jobs-", ignore_cleanup_errors=True) as folder:
        port, dashboard, client = free_ports(3)
        words = f"--head --node-ip-address 127.0.0.1 --port {port} --dashboard-host 127.0.0.1 --num-cpus 2 --block"
        words += f" --dashboard-port {dashboard} --ray-client-server-port {client} --dashboard-agent-listen-port 0"
        words += f" --min-worker-port 0 --max-worker-port 0 --temp-dir {folder} --disable-usage-stats"
        process = subprocess.Popen(
            [str(BIN / "ray"), "start", *words.split(), "--resources", '{"head": 1}'],
            env={**os.environ, **_head_environment(token_file), MARK: mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for_agent(f"http://127.0.0.1:{dashboard}", token_file, process)
            yield RunningHead(f"http://127.0.0.1:{dashboard}", token_file, Path(folder) / "session_latest" / "logs")
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            left = processes_of(mark)
            _, alive = psutil.wait_procs(left, timeout=20)
            for one in alive:
                one.kill()
            process.wait(timeout=10)
            assert alive == []


def _head_environment(token_file: Path) -> dict[str, str]:
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Its name is of the systems on which it is the default: with 1, Ray would listen on every interface.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def _wait_for_agent(url: str, token_file: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the head answers and its own node is registered, which jobs need."""
    deadline = time.monotonic() + 180
    request = urllib.request.Request(
        f"{url}/api/v0/nodes", headers={"Authorization": f"Bearer {token_file.read_text()}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        assert process.poll() is None, "the head ended"
        assert time.monotonic() < deadline, "the head does not answer"
        with contextlib.suppress(OSError, ValueError), opener.open(request, timeout=5) as answer:
            if json.load(answer)["data"]["result"]["total"] == 1:
                return
        time.sleep(0.2)


@pytest.fixture
def batchscope(ray_head: RunningHead, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command against the head, from a folder with prepared data."""
    write_prepared(tmp_path / "data")

    def run(*words: str, status: int = 0, token: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **KEYS, "RAY_API_SERVER_ADDRESS": ray_head.url, "HOME": str(tmp_path)}
        options = ["--token-file", str(ray_head.token_file)] if token else []
        done = subprocess.run(
            [str(BIN / "batchscope"), *words, *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == status, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr + done.stdout
        assert ray_head.token_file.read_text() not in done.stderr + done.stdout
        return done

    return run


def write(folder: Path, name: str, **changes: Any) -> None:
    """Write the tiny study and the code of its model, which goes with the job."""
    (folder / "bags.py").write_text(inspect.getsource(models))
    (folder / "unhurried.py").write_text(inspect.getsource(unhurried).replace("from tests.support.models", "from bags"))
    factory = {"factory": "bags:bag"}
    studies.write_study(folder, **{"study": name, "data": "data", "summary": "summary", "model": factory, **changes})


def test_a_study_is_submitted_followed_and_listed(batchscope: Any, tmp_path: Path, ray_head: RunningHead) -> None:
    write(tmp_path, "short", **ONE)
    followed = batchscope("submit", "study.yaml", "--wait")
    assert "submitted as job batchscope-short-" in followed.stderr
    assert "the code of the model goes with the job: bags.py" in followed.stderr
    assert "1 done, 0 running, 0 waiting" in followed.stdout
    assert "global batch" in followed.stdout
    summary = Summary(str(tmp_path / "summary"))
    [row] = query.trials(summary, "short").to_pylist()
    assert row["state"] == "COMPLETED"
    [study] = query.studies(summary, "short").to_pylist()
    assert study["factory_sha256"] == sha256_of({"bags.py": tmp_path / "bags.py"})

    [job] = json.loads(batchscope("status", "short", "--format", "json").stdout)["rows"]
    assert (job["state"], job["trials_done"], job["trials_asked"], job["exit_code"]) == ("SUCCEEDED", 1, 1, 0)
    assert batchscope("logs", "short").stdout == followed.stdout
    assert batchscope("logs", job["job"], "-f").stdout == followed.stdout
    assert "is not running" in batchscope("stop", "short").stderr

    # The same cluster plans what would be left with another batch size, by what one of its machines does; the study's
    # own job stays the newest of its name.
    write(tmp_path, "short", **{**ONE, "axes": {"global_batch": [17, "full"], "learning_rate": 0.01, "seeds": 1}})
    planned = batchscope("plan", "study.yaml", "--address", ray_head.url, "--format", "json")
    plan = json.loads(planned.stdout)
    assert (plan["source"], plan["measured_on"]) == ("calibration", "local")
    assert (plan["finished"], plan["expected"]["trials"]) == (1, 1)
    assert "job batchscope-plan-of-short-" in planned.stderr

    assert "nothing is left to resume" in batchscope("resume", "short").stderr
    write(tmp_path, "short", **ONE)
    again = batchscope("submit", "study.yaml", "--wait")
    assert "1 finished before" in again.stdout
    listed = json.loads(batchscope("list", "--format", "json").stdout)["rows"]
    assert [row["job"][-2:] for row in listed if row["study"] == "short"] == ["-2", "-1"]

    token = ray_head.token_file.read_text()
    asked = urllib.request.Request(f"{ray_head.url}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
        metadata = answer.read().decode()
    assert job["job"] in metadata
    assert "planted" not in metadata + followed.stdout
    assert token not in metadata
    assert ray_head.logs.is_dir()
    assert holding(ray_head.logs) == []
    assert holding(tmp_path) == []
    assert [file for file in ray_head.logs.rglob("*") if file.is_file() and token.encode() in file.read_bytes()] == []

    assert "did you mean 'short'" in batchscope("logs", "shord", status=2).stderr
    assert "--token-file" in batchscope("list", status=3, token=False).stderr
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{ray_head.url}/api/version", timeout=10)


def test_the_studys_own_exit_code_comes_back(batchscope: Any, tmp_path: Path) -> None:
    write(tmp_path, "wrong", data="nowhere", **ONE)
    refused = batchscope("submit", "study.yaml", "--wait", status=2)
    assert "nowhere" in refused.stdout
    assert json.loads(batchscope("status", "wrong", "--format", "json").stdout)["rows"][0]["exit_code"] == 2


def test_a_stopped_study_saves_and_is_resumed(batchscope: Any, tmp_path: Path) -> None:
    write(tmp_path, "long", **LONG)
    job = batchscope("submit", "study.yaml").stdout.strip()
    assert "is there already" in batchscope("submit", "study.yaml").stderr
    write(tmp_path, "long", **{**LONG, "budget": {"updates": 9}})
    assert f"another spec as job {job}" in batchscope("submit", "study.yaml", status=2).stderr

    _wait_for_checkpoint(tmp_path / "summary")
    said = batchscope("stop", "long").stderr
    assert f"job {job} is STOPPED; 0 of 1 trials done" in said
    assert "saving and stopping" in batchscope("logs", "long", "-f", status=143).stdout
    [cancelled] = query.trials(Summary(str(tmp_path / "summary")), "long").to_pylist()
    assert cancelled["state"] == "CANCELLED"
    assert 0 < cancelled["updates"] < LONG["budget"]["updates"]

    batchscope("resume", "long", "--wait")
    rows = query.trials(Summary(str(tmp_path / "summary")), "long").to_pylist()
    assert [(row["state"], row["attempt"]) for row in rows] == [("CANCELLED", 1), ("COMPLETED", 2)]
    [status] = json.loads(batchscope("status", "long", "--format", "json").stdout)["rows"]
    assert (status["job"][:-1], status["job"][-1], status["trials_done"]) == (job[:-1], "2", 1)


def _wait_for_checkpoint(summary: Path) -> None:
    deadline = time.monotonic() + 240
    while not list((summary / "checkpoints").glob("*/*/resume-*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)

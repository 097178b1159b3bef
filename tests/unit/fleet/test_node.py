"""The dead-man switches: rules with a made-up clock, a whole fleet in moto's EC2, and the service's own hands."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from moto import mock_aws

from cluster.fleet import aws, machines, spec, userdata
from cluster.fleet.node import decide, probe, watch
from cluster.fleet.node.decide import Limits, Observed
from trainer.errors import NotReadyError

MINUTE = 60.0
LIMITS = Limits(deadline=10 * 3600, to_join=30 * MINUTE, head_lost=15 * MINUTE, idle=30 * MINUTE)


@pytest.mark.parametrize(
    ("seen", "minutes", "ends"),
    [
        (Observed(), 29.9, None),
        (Observed(), 30, "never met"),
        (Observed(head=40 * MINUTE), 54.9, None),
        (Observed(head=40 * MINUTE), 55, "lost the head"),
        (Observed(head=600 * MINUTE), 600, "deadline"),
    ],
)
def test_a_worker_ends(seen: Observed, minutes: float, ends: str | None) -> None:
    why = decide.worker_ends(LIMITS, seen, minutes * MINUTE)
    assert why is None if ends is None else ends in str(why)


@pytest.mark.parametrize(
    ("seen", "minutes", "ends"),
    [
        (Observed(), 29.9, None),
        (Observed(), 30, "no study"),
        (Observed(study=100 * MINUTE), 129.9, None),
        (Observed(study=100 * MINUTE), 130, "no study"),
        (Observed(study=600 * MINUTE), 600, "deadline"),
    ],
)
def test_the_head_ends(seen: Observed, minutes: float, ends: str | None) -> None:
    why = decide.head_ends(LIMITS, seen, minutes * MINUTE)
    assert why is None if ends is None else ends in str(why)


def test_a_late_notice_still_drains() -> None:
    assert decide.seconds_until_interruption(1000.0, 880.5) == 119
    assert decide.seconds_until_interruption(1000.0, 1005.0) == 1


@pytest.mark.slow
def test_without_a_controller_no_machine_is_alive_a_quarter_of_an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    with mock_aws():
        client = aws.client("ec2", "us-east-1")
        started = {}
        for number, role in enumerate(["head", "worker", "worker", "worker"]):
            answer = client.run_instances(
                ImageId="ami-12c6146b",
                MinCount=1,
                MaxCount=1,
                TagSpecifications=[
                    {
                        "ResourceType": "instance",
                        "Tags": [{"Key": "batchscope-fleet", "Value": "wiki"}, {"Key": "ray-node-type", "Value": role}],
                    }
                ],
            )
            started[answer["Instances"][0]["InstanceId"]] = number * 7 * MINUTE
        # The last worker is still in its set-up and has not met the head.
        seen = {machine: Observed(head=MINUTE) for machine in list(started)[1:-1]} | {list(started)[-1]: Observed()}
        killed_at = 40 * MINUTE
        alive_at = {}
        for clock in [minute * MINUTE for minute in (22, 38, 39, 40, 51, 53, 54, 55)]:
            found = machines.alive("wiki", "us-east-1")
            alive_at[clock] = len(found)
            head = next((one for one in found if one.role == "head"), None)
            if head and clock == killed_at:
                machines.terminate([head], "us-east-1")
            for one in found:
                since = clock - started[one.instance_id]
                if one.role == "worker" and head and clock < killed_at and seen[one.instance_id].head is not None:
                    seen[one.instance_id] = Observed(head=since)
                if one.role == "worker" and decide.worker_ends(LIMITS, seen[one.instance_id], since):
                    machines.terminate([one], "us-east-1")
        # The one that never joined has a limit of its own, which came at 51 minutes.
        assert [alive_at[minute * MINUTE] for minute in (39, 40, 51, 53, 54, 55)] == [4, 4, 3, 2, 2, 0]


class Service(BaseHTTPRequestHandler):
    """Stands in for EC2's metadata and for Ray's dashboard; `answers` maps (method, path) to (status, body)."""

    answers: ClassVar[dict[tuple[str, str], tuple[int, str]]] = {}
    headers_seen: ClassVar[list[dict[str, str]]] = []

    def _answer(self) -> None:
        type(self).headers_seen.append({key.lower(): value for key, value in self.headers.items()})
        status, body = self.answers.get((self.command, self.path), (404, ""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_PUT = _answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[tuple[str, type[Service]]]:
    handler = type("Handler", (Service,), {"answers": {}, "headers_seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def settings(folder: Path, *, role: str, dashboard: str = "http://127.0.0.1:1") -> watch.Settings:
    """Settings whose commands leave a line in `folder`/said."""

    def note(word: str) -> list[str]:
        return ["/bin/sh", "-c", f'echo {word} "$@" >> {folder}/said', "sh"]

    return watch.Settings(
        role=role,
        kept=str(folder),
        dashboard=dashboard,
        token_file=str(folder / "token"),
        limits=LIMITS,
        drain=note("drain"),
        end_workers=note("end-workers"),
        power_off=note("power-off"),
    )


def said(folder: Path) -> list[str]:
    file = folder / "said"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.slow
def test_the_head_ends_its_workers_first_and_then_itself(tmp_path: Path, service: Any) -> None:
    address, handler = service
    handler.answers[("GET", "/api/jobs/")] = (200, json.dumps([{"status": "SUCCEEDED"}, {"status": "RUNNING"}]))
    (tmp_path / "token").write_text("the-token\n")
    head = watch.Watch(settings(tmp_path, role="head", dashboard=address))
    assert head.look(100 * MINUTE) is None
    assert handler.headers_seen[-1]["authorization"] == "Bearer the-token"
    handler.answers[("GET", "/api/jobs/")] = (200, json.dumps([{"status": "SUCCEEDED"}]))
    # A restarted service remembers.
    head = watch.Watch(settings(tmp_path, role="head", dashboard=address))
    assert head.look(129 * MINUTE) is None
    assert said(tmp_path) == []
    assert head.look(130 * MINUTE) == "no study has waited or run"
    assert said(tmp_path) == ["end-workers", "power-off"]


@pytest.mark.slow
@pytest.mark.parametrize("answer", [(500, ""), (200, "not json"), (200, '{"a": 1}'), (401, "")])
def test_a_head_that_cannot_be_asked_does_not_bill_on(tmp_path: Path, service: Any, answer: tuple[int, str]) -> None:
    address, handler = service
    handler.answers[("GET", "/api/jobs/")] = answer
    head = watch.Watch(settings(tmp_path, role="head", dashboard=address))
    assert head.look(31 * MINUTE) is not None
    assert said(tmp_path)[-1] == "power-off"


@pytest.mark.slow
def test_a_worker_meets_and_loses_the_head(tmp_path: Path, service: Any) -> None:
    address, _ = service
    worker = watch.Watch(settings(tmp_path, role="worker"), metadata=address)
    (tmp_path / "head").write_text(address.removeprefix("http://") + "\n")
    assert worker.look(40 * MINUTE) is None
    (tmp_path / "head").write_text("127.0.0.1:1\n")
    assert watch.Watch(settings(tmp_path, role="worker"), metadata=address).look(54 * MINUTE) is None
    assert "lost the head" in str(worker.look(55 * MINUTE))
    assert said(tmp_path) == ["power-off"]


def test_a_spot_machine_that_is_taken_back_is_drained_once(tmp_path: Path, service: Any) -> None:
    address, handler = service
    (tmp_path / "head").write_text(address.removeprefix("http://"))
    worker = watch.Watch(settings(tmp_path, role="worker"), metadata=address)
    worker.look(1.0)
    assert said(tmp_path) == []
    taken = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 110))
    handler.answers[("PUT", "/latest/api/token")] = (200, "imds-token")
    handler.answers[("GET", "/latest/meta-data/spot/instance-action")] = (
        200,
        json.dumps({"action": "terminate", "time": taken}),
    )
    worker.look(2.0)
    worker.look(3.0)
    (line,) = said(tmp_path)
    words = line.split()
    assert words[:3] == ["drain", "--address", address.removeprefix("http://")]
    assert 1 <= int(words[-1]) <= 110
    assert handler.headers_seen[-1]["x-aws-ec2-metadata-token"] == "imds-token"


def test_a_command_that_fails_stops_nothing(tmp_path: Path) -> None:
    from dataclasses import replace

    broken = replace(settings(tmp_path, role="head"), end_workers=["/does/not/exist"])
    assert watch.Watch(broken).look(31 * MINUTE) is not None
    assert said(tmp_path) == ["power-off"]


@pytest.mark.slow
def test_the_autoscaler_ends_before_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would ask for others in their place, and those would outlive the head."""
    import os
    import subprocess
    import sys

    monkeypatch.setattr(userdata, "SECONDS_OF_A_REQUEST", 0.0)
    program = tmp_path / "ray/autoscaler/v2/monitor.py"
    program.parent.mkdir(parents=True)
    program.write_text("import time; time.sleep(60)")
    scaler = subprocess.Popen([sys.executable, str(program)])
    (tmp_path / "aws").write_text("#!/bin/sh\necho $1 $2\n")
    (tmp_path / "aws").chmod(0o755)
    # A fleet's own pattern would find the autoscaler of every Ray on this machine.
    command = userdata._end_workers(spec.FleetSpec(fleet="wiki", region="us-east-1"))
    narrowed = command.replace("ray/[a]utoscaler", f"{tmp_path}/ray/[a]utoscaler")
    assert narrowed != command
    done = subprocess.run(
        ["/bin/sh", "-c", narrowed],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "ec2 terminate-instances\n"
    assert scaler.wait(10) == -9


@pytest.mark.slow
def test_an_answer_that_does_not_end_is_a_no(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address, handler = service
    handler.answers[("GET", "/api/jobs/")] = (200, json.dumps([{"status": "RUNNING"}] * 20))
    assert probe.study_lives(address, "")
    monkeypatch.setattr(probe, "LONGEST_ANSWER_BYTES", 100)
    assert not probe.study_lives(address, "")


@pytest.mark.parametrize("role", ["head", "worker"])
@pytest.mark.parametrize("image", [None, "example/batchscope:1"])
def test_the_user_data_runs_what_is_tested_here(role: str, image: str | None, tmp_path: Path) -> None:
    """The files as cloud-init writes them, in an empty place: Python without our packages reads and starts them."""
    import subprocess
    import sys

    import yaml

    fleet = spec.FleetSpec(fleet="wiki", region="us-east-1", image=image)
    text = userdata.user_data(fleet, role=role)
    assert text.startswith("#cloud-config\n")
    document = yaml.safe_load(text)
    for one in document["write_files"]:
        place = tmp_path / one["path"].lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(one["content"])
    code = (
        "from cluster.fleet.node import watch; from pathlib import Path; import sys;"
        "settings = watch.settings_of(Path('settings.json').read_text());"
        "assert 'ray' not in sys.modules and 'boto3' not in sys.modules;"
        "print(settings.role, settings.limits.deadline, watch.__file__)"
    )
    folder = tmp_path / "opt/batchscope"
    run = subprocess.run([sys.executable, "-S", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [role, "86400.0", str(folder / "cluster/fleet/node/watch.py")]
    assert document["runcmd"][0] == ["shutdown", "-P", "+1450"]


def test_no_secret_is_in_what_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.fleet import render, tokens

    monkeypatch.setenv("HOME", str(tmp_path))
    fleet = spec.FleetSpec(fleet="wiki", region="us-east-1")
    file = tokens.ensure("wiki")
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text()) >= 40
    assert tokens.ensure("wiki").read_text() == file.read_text()
    text = render.render(fleet, spec.placeholders(fleet))
    assert file.read_text() not in text
    assert "~/.ray/auth_token: ~/.batchscope/fleets/wiki/token" in text
    file.chmod(0o644)
    with pytest.raises(NotReadyError, match="chmod 600"):
        tokens.ensure("wiki")
    tokens.forget("wiki")
    assert not file.exists()

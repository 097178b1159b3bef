"""What a fleet costs and does: totals, what is in use, and words for what AWS refuses."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cluster.fleet import aws, ray_up, spec, status
from cluster.fleet.machines import Machine
from trainer.errors import NotReadyError


def machine(**changes: Any) -> Machine:
    values = {
        "instance_id": "i-1",
        "role": "worker",
        "instance_type": "g5.xlarge",
        "market": "spot",
        "state": "running",
        "launched_at": datetime(2026, 11, 24, 4, 5, tzinfo=UTC),
        "private_ip": "10.71.0.5",
        "image_id": "ami-1",
    }
    return Machine(**{**values, **changes})


def test_a_total_is_only_said_if_every_price_is_known() -> None:
    known = [machine(usd_per_hour=0.5), machine(usd_per_hour=0.25)]
    assert status.total(known) == 0.75
    assert status.total([*known, machine(usd_per_hour=None)]) is None
    assert status.to_text([*known, machine()]).splitlines()[-1] == "total: ? usd/hour"
    assert json.loads(status.to_json("wiki", known))["usd_per_hour"] == 0.75


def test_what_is_ending_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.prices import Price

    monkeypatch.setattr("cluster.prices.hourly", lambda kind, *, market, region: Price(0.4, "test", "2026-11"))
    found = status.priced([machine(), machine(state="shutting-down")], "us-east-1")
    assert [one.usd_per_hour for one in found] == [0.4, 0.0]


def test_the_table_is_aligned() -> None:
    lines = status.to_text([machine(usd_per_hour=0.5), machine(instance_id="i-0123456789", usd_per_hour=12.0)])
    head, first, second, _ = lines.splitlines()
    assert len(head) == len(first) == len(second)
    assert head.index("role") == first.index("worker") == second.index("worker")


def test_what_ec2_refused_stands_below_the_table() -> None:
    text = status.to_text(
        [machine(role="head", refused="all"), machine(instance_id="i-2", refused="g6 spot"), machine()]
    )
    assert text.splitlines()[-2:] == ["EC2 refused: all", "EC2 refused before it gave i-2: g6 spot"]


@pytest.fixture
def dashboard() -> Iterator[tuple[str, list[Any]]]:
    asked: list[Any] = []
    nodes = {
        "summary": [{"raylet": {"nodeId": "abc", "nodeManagerAddress": "10.71.0.5"}}],
        "nodeLogicalResources": {"abc": "1.0/4.0 CPU\n0.25/1.0 GPU\n0B/10GiB memory"},
    }
    body = json.dumps({"result": True, "data": nodes}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_what_is_in_use_is_told_by_the_head(dashboard: tuple[str, list[Any]]) -> None:
    address, asked = dashboard
    found = status.with_use([machine(), machine(private_ip="10.71.0.6")], address, "the-token")
    assert [one.in_use for one in found] == ["1.0/4.0 CPU, 0.25/1.0 GPU", None]
    assert asked == [("/nodes?view=summary", "Bearer the-token")]


def test_a_silent_head_changes_nothing() -> None:
    assert status.with_use([machine()], "http://127.0.0.1:1", "") == [machine()]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("UnauthorizedOperation", "AWS refused ec2:DescribeInstances .* allow it"),
        ("ExpiredToken", "renew the credentials"),
        ("RequestLimitExceeded", "RequestLimitExceeded: too fast"),
    ],
)
def test_what_aws_refuses_names_the_action(code: str, said: str) -> None:
    from botocore.exceptions import ClientError

    def refuse() -> None:
        raise ClientError({"Error": {"Code": code, "Message": "too fast"}}, "DescribeInstances")

    with pytest.raises(NotReadyError, match=said):
        aws.ask("ec2:DescribeInstances", refuse)


def test_an_error_that_is_known_is_the_callers() -> None:
    from botocore.exceptions import ClientError

    def refuse() -> None:
        raise ClientError({"Error": {"Code": "ValidationError", "Message": "no such stack"}}, "DescribeStacks")

    with pytest.raises(ClientError):
        aws.ask("cloudformation:DescribeStacks", refuse, known=["ValidationError"])


def test_silence_from_aws_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "SECONDS", 0.2)
    never = threading.Event()
    with pytest.raises(NotReadyError, match="did not answer ec2:DescribeInstances"):
        aws.ask("ec2:DescribeInstances", lambda: never.wait(30))
    never.set()


def test_a_missing_program_is_named_before_anything_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fleet = spec.FleetSpec(fleet="wiki", region="us-east-1")
    with pytest.raises(NotReadyError, match="session-manager-plugin"):
        ray_up.require_tools(fleet)
    with pytest.raises(NotReadyError) as problem:
        ray_up.require_tools(fleet.model_copy(update={"ssh_from": "203.0.113.4/32"}))
    assert "aws" not in str(problem.value)


@pytest.mark.slow
def test_ray_that_hangs_or_fails_is_ended_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    config = tmp_path / "cluster.yaml"
    note = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); import time; time.sleep(60)"
    monkeypatch.setattr(ray_up, "_RAY", [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(NotReadyError, match="`ray up` ended with exit code 7"):
        ray_up.up(config)
    monkeypatch.setattr(ray_up, "_RAY", [sys.executable, "-c", note])
    monkeypatch.setattr(ray_up, "SECONDS_DOWN", 3)
    with pytest.raises(NotReadyError, match="took longer"):
        ray_up.down(config)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    monkeypatch.setattr(ray_up, "_RAY", [sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(NotReadyError, match="no tunnel"), ray_up.tunnel(config):
        pass

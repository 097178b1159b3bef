"""Which machine this is, asked of a stand-in for EC2's instance metadata service."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.fleet.node import offers
from cluster.prices import Instance, instance, this_instance
from tests.support.answering import drip

TOLD = {"instance-type": "g5.xlarge", "instance-life-cycle": "spot", "placement/region": "eu-west-1"}
LOCAL = Instance("local", "local", "")


class Metadata(ThreadingHTTPServer):
    """Speaks IMDSv2 on loopback: a GET without the token of an earlier PUT is 401."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Service)
        self.told = dict(TOLD)
        self.token_status = 200
        self.pause_seconds = 0.0
        self.closing = threading.Event()
        self.asked: list[str] = []


class Service(BaseHTTPRequestHandler):
    server: Metadata
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        lifetime = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        asked_well = self.path == "/latest/api/token" and lifetime.isdigit()
        self.answer(self.server.token_status if asked_well else 400, "the-token")

    def do_GET(self) -> None:
        name = self.path.removeprefix("/latest/meta-data/")
        if self.headers.get("X-aws-ec2-metadata-token") != "the-token":
            self.answer(401, "Unauthorized")
        else:
            self.answer(200 if name in self.server.told else 404, self.server.told.get(name, "Not Found"))

    def answer(self, status: int, body: str) -> None:
        self.server.asked.append(f"{self.command} {status}")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        drip(self, body, pause_seconds=self.server.pause_seconds, closing=self.server.closing)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """The service, which this process takes for EC2's."""
    server = Metadata()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    instance._instance_at.cache_clear()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()
    instance._instance_at.cache_clear()


@pytest.mark.parametrize("market", ["spot", "on-demand", "capacity-block"])
def test_a_machine_on_ec2_says_what_it_is(metadata: Metadata, market: str) -> None:
    metadata.told["instance-life-cycle"] = market
    assert this_instance() == Instance("g5.xlarge", market, "eu-west-1")
    assert metadata.asked == ["PUT 200", "GET 200", "GET 200", "GET 200", "GET 404"]


def test_a_machine_of_a_fleet_says_what_was_refused_before(metadata: Metadata) -> None:
    assert instance.TAG_REFUSED == offers.TAG_REFUSED
    metadata.told[f"tags/instance/{offers.TAG_REFUSED}"] = "g6.xlarge spot in 2 zones: VcpuLimitExceeded"
    assert this_instance() == Instance("g5.xlarge", "spot", "eu-west-1", "g6.xlarge spot in 2 zones: VcpuLimitExceeded")


def test_it_is_asked_once_in_a_process(metadata: Metadata) -> None:
    assert this_instance() == this_instance()
    assert len(metadata.asked) == 5


def test_proxies_are_passed_by(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert this_instance().instance_type == "g5.xlarge"


def test_a_service_that_may_not_be_asked_is_not(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "True")
    assert this_instance() == LOCAL
    assert metadata.asked == []


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500])
def test_without_a_token_nothing_more_is_asked(metadata: Metadata, status: int) -> None:
    metadata.token_status = status
    assert this_instance() == LOCAL
    assert metadata.asked == [f"PUT {status}"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("instance-type", "<html>login</html>"),
        ("instance-type", ""),
        ("instance-life-cycle", "spot; rm -rf"),
        ("placement/region", "nowhere"),
        ("placement/region", "x" * 5000),
    ],
)
def test_what_ec2_would_not_say_is_not_believed(metadata: Metadata, name: str, text: str) -> None:
    metadata.told[name] = text
    assert this_instance() == LOCAL


@pytest.mark.slow
def test_a_service_that_drips_is_left_by_the_deadline(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each byte comes well within any timeout between bytes; all of them would take ten seconds, and then be right.
    metadata.pause_seconds = 0.25
    monkeypatch.setattr(instance, "DEADLINE_SECONDS", 0.5)
    assert this_instance() == LOCAL


def test_nobody_there_is_a_local_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for address in (
            f"http://127.0.0.1:{closed.getsockname()[1]}",
            "https://127.0.0.1",
            "file:///etc",
            "http://a:b",
        ):
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
            assert this_instance() == LOCAL

"""Prices of machines: asked of AWS's stand-ins on loopback, or read from the pinned table and marked so."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster.prices import Price, hourly, live, price
from tests.support.answering import drip

PINNED = Price(1.006, "pinned table", "2026-01")


def product(usd: str, *, unit: str = "Hrs", currency: str = "USD") -> str:
    """A document of a `PriceList`, with the parts that are read."""
    dimension = {"unit": unit, "pricePerUnit": {currency: usd}, "description": "per On Demand Linux g5.xlarge"}
    return json.dumps({"product": {}, "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}}})


class PriceList(ThreadingHTTPServer):
    """A Pricing API on loopback with one answer for everything."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.status = 200
        self.body: Any = {"FormatVersion": "aws_v1", "PriceList": [product("0.9990000000")]}
        self.pause_seconds = 0.0
        self.closing = threading.Event()
        self.asked: list[tuple[str | None, bytes]] = []


class Api(BaseHTTPRequestHandler):
    server: PriceList
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        question = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.headers["X-Amz-Target"], question))
        body = json.dumps(self.server.body)
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        drip(self, body, pause_seconds=self.server.pause_seconds, closing=self.server.closing)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is remembered, and there is no file of credentials."""
    price._hourly.cache_clear()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")


@pytest.fixture
def pricing(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceList]:
    server = PriceList()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def g5() -> Price:
    return hourly("g5.xlarge", market="on-demand", region="us-east-1")


def test_on_demand_is_asked_for_as_plain_linux_and_once_in_a_process(pricing: PriceList) -> None:
    today = {datetime.now(UTC).date().isoformat()}
    price = g5()
    today.add(datetime.now(UTC).date().isoformat())
    assert (price.usd_per_hour, price.source) == (0.999, "Pricing API")
    assert price.as_of in today
    assert g5() == price
    ((target, body),) = pricing.asked
    question = json.loads(body)
    assert target == "AWSPriceListService.GetProducts"
    assert question["ServiceCode"] == "AmazonEC2"
    assert {field["Field"]: field["Value"] for field in question["Filters"]} == {
        "instanceType": "g5.xlarge",
        "regionCode": "us-east-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }
    assert {field["Type"] for field in question["Filters"]} == {"TERM_MATCH"}


@pytest.mark.slow
def test_spot_is_asked_of_ec2(credentials: None, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    price = hourly("g5.xlarge", market="spot", region="us-east-1")
    assert price.source == "EC2 spot price history"
    assert price.usd_per_hour == pytest.approx(0.00001)  # moto's price of everything
    assert hourly("g9.none", market="spot", region="us-east-1").source == "unknown"


@pytest.mark.slow
def test_without_credentials_the_pinned_table_answers_and_says_so() -> None:
    assert g5() == PINNED
    assert hourly("g5.xlarge", market="spot", region="us-east-1") == Price(0.4347, "pinned table", "2026-01")


def test_a_server_without_the_pricing_api_is_no_reason_to_fail(
    credentials: None, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert g5() == PINNED


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"__type": "AccessDeniedException", "Message": "no pricing:GetProducts"}),
        (500, {}),
        (200, "a page"),
        (200, {"PriceList": []}),
        (200, {"PriceList": ["not JSON"]}),
        (200, {"PriceList": ["[]"]}),
        (200, {"PriceList": ['{"terms": {"OnDemand": []}}']}),
        (200, {"PriceList": [product("free")]}),
        (200, {"PriceList": [product("0.0000000000")]}),
        (200, {"PriceList": [product("5", unit="Quantity"), product("7", currency="CNY")]}),
        (200, {}),
    ],
)
def test_without_a_price_in_the_answer_the_pinned_table_answers(pricing: PriceList, status: int, body: Any) -> None:
    pricing.status, pricing.body = status, body
    assert g5() == PINNED
    assert pricing.asked


@pytest.mark.slow
def test_an_answer_that_is_not_ec2s_is_no_reason_to_fail(pricing: PriceList) -> None:
    assert hourly("g5.xlarge", market="spot", region="us-east-1").source == "pinned table"
    assert pricing.asked


@pytest.mark.slow
def test_a_server_that_drips_is_left_by_the_deadline(pricing: PriceList, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each byte comes well within boto3's timeouts; all of them would take half a minute, and then be a price.
    pricing.pause_seconds = 0.15
    monkeypatch.setattr(price, "DEADLINE_SECONDS", 1.0)
    assert g5() == PINNED


def test_what_has_no_price() -> None:
    assert hourly("g9.none", market="on-demand", region="us-east-1") == Price(None, "unknown", "")
    assert hourly("g5.xlarge", market="on-demand", region="") == Price(None, "unknown", "")
    assert hourly("g5.xlarge", market="capacity-block", region="us-east-1") == Price(None, "unknown", "")
    assert hourly("local", market="local", region="") == Price(None, "not on EC2", "")


def test_the_dearest_of_several_products_is_the_price() -> None:
    free, cheap, dear = product("0.0000000000"), product("1.0060000000"), product("1.5000000000")
    assert live.on_demand_usd([cheap, dear, free]) == 1.5
    assert live.on_demand_usd([]) is None


def test_spot_is_the_mean_over_zones_of_the_newest() -> None:
    now = datetime.now(UTC)

    def entry(zone: str, price: str, hours_old: float) -> dict[str, Any]:
        return {"AvailabilityZone": zone, "SpotPrice": price, "Timestamp": now - timedelta(hours=hours_old)}

    history = [
        entry("us-west-2a", "0.40", 1),
        entry("us-west-2a", "9.00", 5),
        entry("us-west-2b", "9.00", 7),
        entry("us-west-2b", "0.60", 2),
        entry("us-west-2-lax-1a", "0.01", 1),
    ]
    assert live.spot_usd(history, "us-west-2") == pytest.approx(0.5)
    assert live.spot_usd(history[-1:], "us-west-2") is None


def test_the_pinned_table_is_whole() -> None:
    as_of, prices = price._table()
    assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", as_of)
    assert {region for _, region, _ in prices} == {"us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1"}
    for (machine, region, market), usd_per_hour in prices.items():
        assert 0 < usd_per_hour < 10
        assert re.fullmatch(r"[a-z0-9]+\.[a-z0-9]+", machine)
        if market == "spot":
            assert usd_per_hour < prices[machine, region, "on-demand"]
    lines = [line for line in (Path(price.__file__).parent / "on_demand.csv").read_text().split() if line[0] != "#"]
    rows = [line.rsplit(",", 2)[0] for line in lines if line.count(",") == 3]
    assert len(set(rows)) == len(rows) > 40


def test_prices_import_nothing_heavy() -> None:
    code = "import sys, cluster.prices; print(*{name.partition('.')[0] for name in sys.modules})"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"boto3", "botocore", "ray", "pyarrow", "urllib3"} & set(names)

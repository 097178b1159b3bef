"""What a proxy of the environment hears: nothing that goes to this machine, everything that goes elsewhere."""

import json
import os
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from cluster.jobs.address import parse_address
from cluster.jobs.head import UnreachableError, connect
from cluster.process.ports import free_ports
from cluster.process.proxies import VARIABLES, go_direct

TOKEN = "do-not-tell-anybody-0123456789abcdef"
VERSION = {"version": "4", "ray_version": "2.60.0", "ray_commit": "0", "session_name": "s"}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a proxy that plays a cluster's head was asked; the environment names it for everything."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}")
            body = json.dumps(VERSION if "version" in self.path else []).encode()
            self.send_response(200 if "Authorization" in self.headers else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST = do_CONNECT = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    for name in VARIABLES:
        # So that it is put back.
        monkeypatch.setenv(name, "")
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "[::1]"])
def test_the_token_of_a_head_on_loopback_reaches_no_proxy(heard: list[str], host: str) -> None:
    # Nobody listens there: only the proxy could answer.
    address = parse_address(f"http://{host}:{free_ports(1)[0]}")
    with pytest.raises(UnreachableError):
        connect(address, lambda: TOKEN)
    assert heard == []


def test_rays_own_client_asks_loopback_directly_too(heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.jobs.head.require_token", lambda address: True)
    with pytest.raises(UnreachableError):
        connect(parse_address(f"http://127.0.0.1:{free_ports(1)[0]}"), lambda: TOKEN)
    assert heard == []


def test_a_head_elsewhere_is_reached_as_the_person_says(heard: list[str]) -> None:
    go_direct()
    connect(parse_address("http://head.example.org:8265"), lambda: TOKEN)
    assert [line.split()[1] for line in heard] == ["http://head.example.org:8265/api/version"] * 3


def test_s3_goes_through_the_proxy_unless_it_is_here(
    bucket: str, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster.stores import store_of

    go_direct()
    store_of(f"s3://{bucket}/here").write("name", b"content")
    assert heard == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.example.org")
    assert store_of(f"s3://{bucket}/there").read("name") == b"[]"
    assert heard
    assert all("s3.example.org" in line for line in heard)


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_person_excludes_stays_excluded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in VARIABLES:
        monkeypatch.setenv(other, "")
    monkeypatch.setenv(name, "intra.example.org, .corp")
    go_direct(["10.1.2.3"])
    go_direct(["10.1.2.3"])
    for variable in VARIABLES:
        found = os.environ[variable].split(",")
        assert found[:2] == ["intra.example.org", ".corp"]
        assert {"localhost", "127.0.0.1", "::1", "10.1.2.3"} < set(found)
        assert len(found) == len(set(found))
    bypass: Any = urllib.request.proxy_bypass
    assert bypass("127.0.0.1:80")
    assert not bypass("example.org")

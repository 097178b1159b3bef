"""`batchscope serve` as a process of its own, asked over sockets: hostile paths, fifty readers, and its end."""

import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from cluster.summary.store import Summary
from tests.support.processes import heeding_ctrl_c
from tests.unit.serve.test_serve import TOKEN, trial, write_wiki

COMMAND = [sys.executable, "-m", "cluster.cli", "serve"]
SECONDS = 60.0
Get = Callable[..., tuple[int, str]]


@contextmanager
def served(summary: Summary, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the address that it printed; ended if the test did not."""
    command = [*COMMAND, "--summary", summary.uri, "--port", "0", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=heeding_ctrl_c) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + process.stderr.read()
            yield process, found[0]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    found = Summary(str(tmp_path_factory.mktemp("served") / "summary"))
    write_wiki(found)
    return found


@pytest.fixture(scope="module")
def get(summary: Summary) -> Iterator[Get]:
    """Asks the running server for a path, as it is."""
    with served(summary) as (process, url):
        address = url.removeprefix("http://").rstrip("/")

        def ask(path: str, **headers: str) -> tuple[int, str]:
            connection = http.client.HTTPConnection(address, timeout=SECONDS)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        yield ask
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() + process.stderr.read() == ""


UP = ["..", ".", "%2e%2e", "..%2f..", "..%5c", "....//", "wiki/..", "wiki/../..", "//proc/self", "%00", "#", "wiki;x"]


@pytest.mark.parametrize("up", UP)
def test_no_path_leads_out_of_the_list(get: Get, up: str) -> None:
    for start in ("/", "/studies/", "/api/studies/", "/api/studies/wiki/"):
        for end in ("", "/etc/passwd", "/batchscope-summary.json", "/points"):
            status, text = get(f"{start}{up}{end}")
            assert status in (400, 404)
            assert text.count("\n") <= 1
            assert "root:" not in text
            assert "batchscope_summary" not in text


def test_fifty_readers_at_once_while_trials_end(get: Get, summary: Summary) -> None:
    addresses = ("/", "/studies/wiki", "/api/studies/wiki", "/api/studies/wiki/points")
    over = threading.Event()

    def read(number: int) -> list[int]:
        statuses = []
        while not over.is_set() or not statuses:
            statuses.append(get(addresses[(number + len(statuses)) % len(addresses)])[0])
        return statuses

    with ThreadPoolExecutor(50) as pool:
        readers = [pool.submit(read, number) for number in range(50)]
        for number in range(10, 20):
            summary.write_trial(trial(str(number)))
        over.set()
        assert {status for reader in readers for status in reader.result()} == {200}


def test_ctrl_c_ends_it_and_a_second_one_finds_the_port_taken(summary: Summary) -> None:
    with served(summary, "--token", TOKEN) as (process, url):
        assert url.endswith(f"/?token={TOKEN}")
        port = re.search(r":(\d+)/", url)
        assert port
        second = subprocess.run([*COMMAND, "--port", port[1]], capture_output=True, text=True, timeout=SECONDS)
        assert second.returncode == 3
        assert second.stderr == (f"batchscope: port {port[1]} of 127.0.0.1 is in use: choose another with --port\n")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, out, err.strip()) == (130, "", "")


def test_beyond_this_machine_a_token_is_made(summary: Summary) -> None:
    with served(summary, "--host", "0.0.0.0") as (_, url):
        found = re.fullmatch(r"http://\S+:(\d+)/\?token=(\S{43})", url)
        assert found, url
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=SECONDS)
        connection.request("GET", "/")
        assert connection.getresponse().status == 401
        connection.close()
        connection.request("GET", "/", headers={"authorization": f"Bearer {found[2]}"})
        assert connection.getresponse().status == 200
        connection.close()
        connection.request("GET", "/", headers={"authorization": f"Bearer {found[2]}", "host": "evil.example"})
        assert connection.getresponse().status == 403

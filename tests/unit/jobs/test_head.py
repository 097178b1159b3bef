"""A head that asks for a token, lets everybody in, is silent, drips, or is none; and the commands when nothing runs."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from cluster import cli
from cluster.cli import EXIT_INTERRUPTED, reaching
from cluster.cli.reaching import _row
from cluster.jobs import head as heads
from cluster.jobs.address import Address
from cluster.jobs.head import UnreachableError, connect, require_token
from cluster.jobs.job import Job
from cluster.report.progress_lines import StudyProgress, of_line, to_line
from trainer.errors import InputError, NotReadyError

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, body: bytes = b"{}", **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def silent(request: BaseHTTPRequestHandler) -> None:
    time.sleep(2)


def drip(request: BaseHTTPRequestHandler) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.1)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], tuple[str, list[dict[str, str]]]]]:
    """Starts a server on loopback that gives one answer to everything; its address, and the headers it was sent."""
    servers = []

    def start(answer: Answer) -> tuple[str, list[dict[str, str]]]:
        asked: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
                try:
                    answer(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_head_that_asks_for_a_token_is_fine_wherever_it_is(serve: Any) -> None:
    url, asked = serve(status(401))
    assert require_token(Address(url, loopback=False))
    assert require_token(Address(url, loopback=True))
    assert asked[0]["path"] == "/api/version"


def test_a_head_that_lets_everybody_in_is_refused_unless_it_is_here(serve: Any) -> None:
    url, _ = serve(status(200))
    with pytest.raises(NotReadyError, match=r"CVE-2023-48022.*RAY_AUTH_MODE=token"):
        require_token(Address(url, loopback=False))
    assert not require_token(Address(url, loopback=True))


def test_no_token_is_sent_before_it_is_asked_for(serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    url, asked = serve(status(401))
    with pytest.raises(NotReadyError, match=r"asks for a token.*--token-file"):
        connect(Address(url, loopback=True), lambda: None)
    assert len(asked) == 1
    assert "authorization" not in asked[0]


def test_a_head_that_moved_or_is_none_is_said(serve: Any) -> None:
    url, _ = serve(status(302, Location="http://127.0.0.1:1/api/version"))
    with pytest.raises(UnreachableError, match="HTTP status 302"):
        require_token(Address(url, loopback=True))
    with pytest.raises(UnreachableError, match=r"\(Connection refused\)"):
        connect(Address("http://127.0.0.1:1", loopback=True), lambda: None)


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "reason"), [(silent, "timed out"), (drip, "no answer within 0.4 s")])
def test_a_head_that_does_not_answer_has_a_deadline(
    serve: Any, monkeypatch: pytest.MonkeyPatch, answer: Any, reason: str
) -> None:
    url, _ = serve(answer)
    monkeypatch.setattr(heads, "CALL_SECONDS", 0.4)
    with pytest.raises(UnreachableError, match=reason):
        connect(Address(url, loopback=True), lambda: None)


class Cluster:
    """Stands for a connected Head with one job, which Ctrl-C meets when its log is asked for."""

    def __init__(self, state: str = "STOPPED") -> None:
        self.address = Address("http://127.0.0.1:8265", loopback=True)
        self._job = Job(
            id="batchscope-wiki-0123abcd-7",
            study="wiki",
            spec_hash="0123abcd",
            spec_json=None,
            state=state,
            submitted_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            ended_at=datetime(2026, 1, 2, 3, 5, tzinfo=UTC),
            driver_exit_code=None,
            message="",
        )

    def jobs(self) -> list[Job]:
        return [self._job]

    def job(self, job_id: str) -> Job:
        return self._job

    def log(self, job_id: str) -> str:
        if self._job.active:
            raise KeyboardInterrupt
        progress = StudyProgress(done=2, asked=5, running=0, text="\x1b[31m2 done,\x1b[0m 3 waiting")
        return f"\x1b[31m2 done, 0 running, 3 waiting\x1b[0m\n{to_line(progress)}\n"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command against the stand-in: exit code, stdout and stderr."""

    def run(name: str, *arguments: str, state: str = "STOPPED") -> tuple[int, str, str]:
        module = __import__(f"cluster.cli.{name}", fromlist=["command"])
        monkeypatch.setattr(module, "reach", lambda address, token_file: Cluster(state))
        words = ["batchscope", name, *arguments, "--address", "http://127.0.0.1:8265"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    return run


def test_status_tells_the_trials_done(command: Any) -> None:
    code, out, _ = command("status", "wiki", "--format", "json")
    [row] = json.loads(out)["rows"]
    assert code == 0
    assert (row["trials_done"], row["trials_asked"], row["seconds"], row["exit_code"]) == (2, 5, 60.0, 143)
    _, out, _ = command("status")
    assert out.splitlines()[-1].split()[:4] == ["wiki", "STOPPED", "2", "5"]


def test_status_has_the_time_left_of_a_running_study_and_what_failed() -> None:
    progress = StudyProgress(done=2, asked=5, running=2, text="2 done", failed=1, seconds_left=90.0)
    job = Cluster("RUNNING").jobs()[0]
    assert (_row(job, progress)["seconds_left"], _row(job, progress)["trials_failed"]) == (90.0, 1)
    assert _row(Cluster("STOPPED").jobs()[0], progress)["seconds_left"] is None
    assert of_line(to_line(progress)) == progress
    older = '{"batchscope_progress": {"done": 2, "asked": 5, "running": 2, "text": "2 done"}}'
    assert of_line(older) == StudyProgress(done=2, asked=5, running=2, text="2 done")


def test_a_study_that_was_stopped_with_nothing_left_is_called_complete(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = to_line(StudyProgress(done=5, asked=5, running=0, text="5 done"))
    monkeypatch.setattr(Cluster, "log", lambda self, job_id: whole)
    _, _, err = command("status")
    assert "wiki: its 5 trials are all done; this job was stopped with nothing left" in err


def test_without_an_address_it_is_said_what_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    for name, arguments in (("status", []), ("list", []), ("stop", ["wiki"])):
        module = __import__(f"cluster.cli.{name}", fromlist=["command"])
        with pytest.raises(InputError, match="`batchscope results` lists its studies"):
            module.command.main(arguments, standalone_mode=False)


def test_list_needs_no_log(command: Any) -> None:
    _, out, _ = command("list", state="RUNNING")
    assert "batchscope-wiki-0123abcd-7" in out


def test_a_log_does_not_command_the_terminal(command: Any) -> None:
    for arguments in (["wiki"], ["wiki", "-f"]):
        code, out, _ = command("logs", *arguments)
        assert out == "2 done, 0 running, 3 waiting\n2 done, 3 waiting\n"
        assert code == (143 if "-f" in arguments else 0)


def test_ctrl_c_leaves_the_study_at_work(command: Any) -> None:
    code, _, err = command("logs", "wiki", "-f", state="RUNNING")
    assert code == EXIT_INTERRUPTED
    assert "following study wiki, which goes on" in err
    assert "batchscope stop wiki" in err


def test_stop_of_an_ended_study_says_so(command: Any) -> None:
    code, _, err = command("stop", "wiki")
    assert code == 0
    assert "is not running: its job batchscope-wiki-0123abcd-7 is STOPPED" in err


def test_resume_asks_for_the_file_of_a_spec_that_was_not_kept(command: Any) -> None:
    code, out, err = command("resume", "wiki")
    assert (code, out) == (2, "")
    assert "use `batchscope submit STUDY.yaml` instead" in err


def test_a_study_that_has_succeeded_is_not_started_again(command: Any) -> None:
    code, out, err = command("resume", "wiki", "--format", "json", state="SUCCEEDED")
    assert code == 0
    assert "nothing is left to resume" in err
    assert json.loads(out)["submitted"] is False


def test_an_unknown_study_names_the_nearest(command: Any) -> None:
    code, _, err = command("status", "wikki")
    assert code == 2
    assert "did you mean 'wiki'" in err


def test_a_bad_budget_is_refused_before_the_cluster_is_asked(command: Any) -> None:
    code, _, err = command("resume", "wiki", "--budget", "plenty")
    assert code == 2
    assert "plenty" in err


def test_without_an_address_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for name in reaching.ADDRESS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["batchscope", "list"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "--address" in capsys.readouterr().err

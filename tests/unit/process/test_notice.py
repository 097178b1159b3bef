"""A notice reaches a webhook or a command and nothing else; its address is never shown, and no failure is raised."""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from cluster.process import notice
from cluster.process.notice import Webhook, give, receiver_of
from trainer.errors import InputError

SECRET = "T0KEN-in-the-path"
NOTICE = {"schema_version": 1, "study": "wiki", "outcome": "completed", "headline": "Use B = 32.", "text": "wiki"}


class Hook(http.server.ThreadingHTTPServer):
    """A webhook; requests that are answered with silence wait until it is `released`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiving)
        self.released = threading.Event()


class Receiving(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; the path says how it is answered."""

    heard: ClassVar[list[tuple[str, dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        assert isinstance(self.server, Hook)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.path, json.loads(body), self.headers["Authorization"]))
        if self.path.startswith("/silent"):
            self.server.released.wait(60)
        self.send_response({"/no": 404, "/to": 307}.get(self.path[:3], 200), SECRET)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    server = Hook()
    Receiving.heard.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_posted_the_notice_and_its_address_is_not_shown(hook: str) -> None:
    line = give(receiver_of(f"{hook}/{SECRET}?key={SECRET}"), NOTICE)
    assert Receiving.heard == [(f"/{SECRET}?key={SECRET}", NOTICE, None)]
    assert line == f"notified {hook}/..."


@pytest.mark.parametrize(
    ("path", "reason"), [("/no", "it answered 404"), ("/to", "it answered 307"), ("/silent", "it took more than 0.5 s")]
)
def test_what_does_not_arrive_is_one_line_without_the_address_or_a_servers_words(
    hook: str, path: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice, "SECONDS", 0.5)
    line = give(receiver_of(f"{hook}{path}/{SECRET}"), NOTICE)
    assert line == f"could not notify {hook}/...: {reason}; the study is not affected"
    assert [one[0] for one in Receiving.heard] == [f"{path}/{SECRET}"]


def test_nobody_there_is_one_line() -> None:
    line = give(receiver_of(f"http://127.0.0.1:9/{SECRET}"), NOTICE)
    assert line.startswith("could not notify http://127.0.0.1:9/...: no connection (")
    assert SECRET not in line
    assert SECRET not in repr(receiver_of(f"https://example.com/{SECRET}"))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (f"http://example.com/{SECRET}", "http://example.com/... would send in the clear"),
        (f"https://me:{SECRET}@example.com/x", "leave the name and password out"),
        (f"https:///{SECRET}", "cannot be read"),
        (f"https://example.com:port/{SECRET}", "cannot be read"),
        (f"https://example.com/{SECRET}\r\nX: y", "cannot be read"),
        (f"htps://example.com/{SECRET}", "has an address of another kind"),
        ("no-such-command-anywhere --now", "is neither an https:// address nor a command"),
        ("'unbalanced", "is no command"),
        ("", "is neither"),
    ],
)
def test_what_cannot_be_notified_is_refused_before_anything_starts(target: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        receiver_of(target)
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)


def test_this_machine_may_be_told_without_encryption() -> None:
    for host in ("localhost:80", "127.0.0.1", "[::1]:9"):
        found = receiver_of(f"http://{host}/x")
        assert isinstance(found, Webhook)
        assert found.shown == f"http://{host}/..."


@pytest.mark.slow
def test_a_command_gets_the_notice_on_its_stdin_and_no_shell_reads_it(tmp_path: Any) -> None:
    told = tmp_path / "told"
    code = f"import sys; open({str(told)!r}, 'w').write(sys.argv[1] + sys.stdin.read())"
    line = give(receiver_of(f"{sys.executable} -c {json.dumps(code)} '$(id);`id`&'"), NOTICE)
    assert line == f"notified {sys.executable}"
    assert told.read_text() == "$(id);`id`&" + json.dumps(NOTICE)


@pytest.mark.slow
def test_a_command_that_fails_or_hangs_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it ended with 3; the study" in give(receiver_of(f"{sys.executable} -c 'exit(3)'"), NOTICE)
    monkeypatch.setattr(notice, "SECONDS", 0.5)
    assert "it took more than 0.5 s" in give(receiver_of(f"{sys.executable} -c 'import time; time.sleep(99)'"), NOTICE)

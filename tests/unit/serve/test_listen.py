"""Where `serve` listens, whom it answers there, and what it refuses before it begins."""

import re

import pytest

from cluster.report.serve.listen import Listening, listen
from trainer.errors import InputError, NotReadyError


def closed(found: Listening) -> Listening:
    found.socket.close()
    return found


def test_on_loopback_it_needs_no_token_and_knows_its_names() -> None:
    found = closed(listen("127.0.0.1", 0, None))
    port = found.url.rpartition(":")[2].rstrip("/")
    assert found.rules.token is None
    assert found.url == f"http://127.0.0.1:{port}/"
    assert found.rules.hosts == {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}
    assert not found.rules.own_addresses


def test_elsewhere_a_token_is_made_that_nobody_guesses() -> None:
    found, other = closed(listen("0.0.0.0", 0, None)), closed(listen("0.0.0.0", 0, None))
    assert found.rules.own_addresses
    assert found.rules.token is not None
    assert len(found.rules.token) == 43
    assert found.rules.token != other.rules.token
    assert re.fullmatch(rf"http://\S+:\d+/\?token={re.escape(found.rules.token)}", found.url)


def test_a_token_that_was_given_is_asked_for_on_loopback_too() -> None:
    token = "sixteen-or-more&"
    found = closed(listen("localhost", 0, token))
    assert found.rules.token == token
    assert found.url.endswith("/?token=sixteen-or-more%26")


@pytest.mark.parametrize("token", ["", "fifteen-letters", "\u00fc" * 20, "a\n" * 10])
def test_a_token_that_is_none(token: str) -> None:
    with pytest.raises(InputError, match="at least 16 printable"):
        listen("127.0.0.1", 0, token)


@pytest.mark.parametrize(
    ("host", "said"), [("no-such-host.invalid", "no such name"), ("203.0.113.7", "not an address of this machine")]
)
def test_a_host_that_is_not_this_machine(host: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        listen(host, 0, None)


def test_a_port_that_is_taken() -> None:
    found = listen("127.0.0.1", 0, None)
    try:
        with pytest.raises(NotReadyError, match=r"port \d+ of 127.0.0.1 is in use: choose another with --port"):
            listen("127.0.0.1", found.socket.getsockname()[1], None)
    finally:
        found.socket.close()

"""Who waits for a store is told so, once, and not while bytes arrive."""

import time
import warnings
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import EndpointConnectionError

from cluster import cli
from cluster.stores import calls, waiting
from cluster.stores.calls import Call, Try, persist
from cluster.stores.waiting import StoreWarning

CALL = Call(action="s3:GetObject", bucket="articles", place="s3://articles/a", seconds=1.0)
WORD = "s3://articles/a has not answered s3:GetObject for 0.05 s: trying on, for 1 s at most"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(waiting, "SECONDS_BEFORE_A_WORD", 0.05)
    monkeypatch.setattr(waiting, "_said_at", -float("inf"))
    monkeypatch.setattr(calls, "FIRST_PAUSE_SECONDS", 0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("always", StoreWarning)
        yield


def silent(one: Try[str]) -> str:
    time.sleep(0.2)
    return "whole"


def refusing() -> Callable[[Try[str]], str]:
    """Refuse until a fifth of a second is over, at once each time."""
    began = time.monotonic()

    def work(_: Try[str]) -> str:
        if time.monotonic() - began < 0.2:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1")
        time.sleep(0.05)
        return "whole"

    return work


@pytest.mark.parametrize("way", [lambda: silent, refusing], ids=["silence", "refusals"])
def test_a_call_without_an_answer_is_named_once(way: Callable[[], Callable[[Try[str]], str]]) -> None:
    with pytest.warns(StoreWarning) as said:
        assert persist(CALL, way()) == "whole"
    assert [str(one.message) for one in said] == [WORD]


def test_an_outage_that_holds_up_many_calls_is_said_once() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", StoreWarning)
        persist(CALL, silent)
        persist(CALL, silent)
    assert len(said) == 1


def test_nothing_is_said_of_an_answer_that_arrives_slowly() -> None:
    def slow(one: Try[str]) -> str:
        for _ in range(4):
            one.step(lambda: None)
            time.sleep(0.05)
        return "whole"

    with warnings.catch_warnings():
        warnings.simplefilter("error", StoreWarning)
        assert persist(CALL, slow) == "whole"


def test_warnings_that_are_errors_do_not_end_the_call() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", StoreWarning)
        assert persist(CALL, silent) == "whole"


def test_a_command_prints_the_word_as_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    cli._say_problems()
    persist(CALL, silent)
    assert capsys.readouterr().err == f"batchscope: {WORD}\n"

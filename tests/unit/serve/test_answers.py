"""The answers of the list: worked out once for the same rows, one at a time, and never waited for for long."""

import asyncio
import threading

import pytest

from cluster.report.serve import answers as module
from cluster.report.serve.answers import UNKNOWN, Answers


def test_an_answer_is_worked_out_once_until_the_rows_change_and_not_at_once_again() -> None:
    made: list[str] = []
    now = [0.0]

    def make(study: str) -> str:
        made.append(study)
        return f"{study} {len(made)}"

    async def body() -> None:
        answers = Answers(make, clock=lambda: now[0])
        assert await answers.of({"a": "1", "b": "1"}) == {"a": "a 1", "b": "b 2"}
        assert await answers.of({"a": "1", "b": "1"}) == {"a": "a 1", "b": "b 2"}
        await answers.of({"a": "2", "b": "1"})
        assert made == ["a", "b"]
        now[0] = 1000.0
        while len(made) < 3:
            await answers.of({"a": "2", "b": "1"})
            await asyncio.sleep(0)
        assert made == ["a", "b", "a"]
        assert await answers.of({"b": "1"}) == {"b": "b 2"}
        answers.close()

    asyncio.run(body())


def test_a_study_that_cannot_be_judged_takes_no_answer_from_the_others() -> None:
    def make(study: str) -> str:
        if study == "a":
            raise ValueError("damaged")
        return "fine"

    async def body() -> None:
        answers = Answers(make)
        assert await answers.of({"a": "1", "b": "1"}) == {"a": UNKNOWN, "b": "fine"}
        answers.close()

    asyncio.run(body())


def test_the_list_does_not_wait_for_a_slow_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    done = threading.Event()

    async def body() -> None:
        answers = Answers(lambda study: "late" if done.wait() else "never")
        assert await answers.of({"a": "1"}) == {}
        done.set()
        while not (found := await answers.of({"a": "1"})):
            await asyncio.sleep(0)
        assert found == {"a": "late"}
        answers.close()

    asyncio.run(body())

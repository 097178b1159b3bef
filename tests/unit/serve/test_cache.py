"""A shelf: many readers, one making; nothing made twice of the same version; what took long rests long."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from cluster.report.serve import cache
from cluster.report.serve.cache import SECONDS, SECONDS_AT_MOST, Shelf


class Source:
    """A summary that counts its readers; its time passes when something is made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0
        self.version = "1"
        self.looked: list[str] = []
        self.made: list[str] = []
        self.at_once = self.most_at_once = 0
        self.problem: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def look(self, key: str) -> str:
        self.looked.append(key)
        return self.version

    def make(self, key: str) -> str:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.go_on.wait(30)
        self.at_once -= 1
        self.now += 0.0 if key == "quick" else self.seconds
        self.made.append(key)
        if self.problem:
            raise self.problem
        return f"{key} {self.version}"


@contextmanager
def shelf_of(source: Source, *, most: int = 1000, threads: int = 4) -> Iterator[Shelf[str, str]]:
    with ThreadPoolExecutor(threads) as pool:
        yield Shelf(pool, version=source.look, make=source.make, size=len, bytes_at_most=most, clock=lambda: source.now)


def test_fifty_readers_are_one_making() -> None:
    source = Source()

    async def read(shelf: Shelf[str, str]) -> list[str]:
        source.go_on.clear()
        readers = [asyncio.create_task(shelf.get("a")) for _ in range(50)]
        await asyncio.sleep(0.05)
        # One that goes away takes nothing from the others.
        readers.pop(0).cancel()
        source.go_on.set()
        return await asyncio.gather(*readers)

    with shelf_of(source) as found:
        assert set(asyncio.run(read(found))) == {"a 1"}
    assert (source.made, source.most_at_once) == (["a"], 1)


def test_what_has_not_changed_is_not_made_again() -> None:
    source = Source()

    async def read(shelf: Shelf[str, str]) -> None:
        assert await shelf.get("a") == "a 1"
        source.version = "2"
        source.now = SECONDS * 0.9
        assert await shelf.get("a") == "a 1"
        assert source.looked == ["a"]
        source.now = SECONDS * 1.1
        assert await shelf.get("a") == "a 2"
        for _ in range(5):
            source.now += SECONDS * 1.1
            assert await shelf.get("a") == "a 2"
        assert len(source.looked) == 7

    with shelf_of(source) as found:
        asyncio.run(read(found))
    assert source.made == ["a", "a"]


@pytest.mark.parametrize(("took", "rest"), [(0.0, SECONDS), (1.0, 20.0), (100.0, SECONDS_AT_MOST)])
def test_what_took_long_rests_long(took: float, rest: float) -> None:
    source = Source()
    source.seconds = took

    async def read(shelf: Shelf[str, str]) -> None:
        await shelf.get("a")
        source.version = "2"
        source.now += rest * 0.99
        assert await shelf.get("a") == "a 1"
        source.now += rest * 0.02
        assert await shelf.get("a") == "a 2"

    with shelf_of(source) as found:
        asyncio.run(read(found))


def test_what_waited_for_a_thread_does_not_rest_for_it() -> None:
    source = Source()

    async def read(shelf: Shelf[str, str]) -> None:
        source.go_on.clear()
        source.seconds = 10.0
        slow = asyncio.create_task(shelf.get("a"))
        quick = asyncio.create_task(shelf.get("quick"))
        await asyncio.sleep(0.05)
        source.go_on.set()
        assert (await slow, await quick) == ("a 1", "quick 1")
        source.version = "2"
        source.now += SECONDS * 1.1
        assert await shelf.get("quick") == "quick 2"

    with shelf_of(source, threads=1) as found:
        asyncio.run(read(found))


def test_an_impatient_reader_gets_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PATIENCE_SECONDS", 0.05)
    source = Source()

    async def read(shelf: Shelf[str, str]) -> None:
        await shelf.get("a")
        source.version, source.now = "2", SECONDS * 2
        source.go_on.clear()
        assert await shelf.get("a") == "a 1"
        source.go_on.set()
        while await shelf.get("a") != "a 2":
            await asyncio.sleep(0.01)

    with shelf_of(source) as found:
        asyncio.run(read(found))
    assert source.made == ["a", "a"]


def test_a_problem_is_everybodys_and_rests_too() -> None:
    source = Source()
    source.problem = ValueError("no")

    async def read(shelf: Shelf[str, str]) -> None:
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await shelf.get("a")
        assert source.made == ["a"]
        source.problem = None
        source.now = SECONDS * 1.1
        assert await shelf.get("a") == "a 1"

    with shelf_of(source) as found:
        asyncio.run(read(found))


def test_the_memory_is_bounded_and_the_last_used_stay() -> None:
    source = Source()

    async def read(shelf: Shelf[str, str]) -> None:
        for key in ("a", "b", "a", "c", "a", "b"):
            await shelf.get(key)

    # Three characters each: two fit.
    with shelf_of(source, most=6) as found:
        asyncio.run(read(found))
    assert source.made == ["a", "b", "c", "b"]

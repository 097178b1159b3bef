"""The sum over workers: the same bits on each, whatever their number; no stranger is heard, and a peer that goes is."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.machine import peers
from trainer.machine.peers import Peers
from trainer.update import exchange
from trainer.update.exchange import Exchange

SECRET = b"of these workers"


@contextmanager
def lane(workers: int, secrets: tuple[bytes, ...] | None = None) -> Iterator[list[Peers]]:
    """The workers of a lane, as each of them is introduced."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in listening)
    given_secrets = secrets or (SECRET,) * workers
    try:
        yield [Peers(rank, addresses, given_secrets[rank], listening[rank]) for rank in range(workers)]
    finally:
        for one in listening:
            one.close()


def on_all(found: list[Peers], body: Callable[[Exchange, int], Any]) -> list[Any]:
    """What each worker's body returns, by rank."""
    with ThreadPoolExecutor(len(found)) as pool:
        return list(pool.map(lambda one: body(Exchange(one), one.rank), found))


@settings(max_examples=30)
@given(
    workers=st.integers(2, 5),
    size=st.sampled_from([0, 1, 2, 7, 1000, 300_000]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 10),
)
def test_all_have_the_bits_of_a_sum_in_the_order_of_the_ranks(workers: int, size: int, dtype: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    arrays = [draw.normal(size=size).astype(dtype) for _ in range(workers)]
    expected = arrays[0].copy()
    for array in arrays[1:]:
        expected += array
    with lane(workers) as found:
        # Three times, so that what one sum left would be in the next.
        sums = on_all(found, lambda here, rank: [here.sum(arrays[rank]) for _ in range(3)])
    for of_one in sums:
        for total in of_one:
            assert total.dtype == dtype
            np.testing.assert_array_equal(total, expected)


def test_the_shape_stays_also_of_a_number() -> None:
    with lane(2) as found:
        shaped = on_all(found, lambda here, rank: (here.sum(np.full((2, 3), rank)), here.sum(np.array(rank + 1.0))))
    for matrix, number in shaped:
        assert matrix.tolist() == [[1, 1, 1], [1, 1, 1]]
        assert number.shape == ()
        assert float(number) == 3.0


def test_strangers_are_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SECONDS_FOR_A_GREETING", 0.3)
    with lane(2) as found:
        place = peers.place_of(found[0].addresses[0])
        silent, talking, leaving = (socket.create_connection(place) for _ in range(3))
        talking.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 200)
        leaving.close()
        # Whoever knows another secret is none of the lane either, and does not learn this one's.
        wrong = Peers(1, found[0].addresses, b"another secret", found[1].listening)
        said: list[OSError] = []

        def intrude() -> None:
            try:
                exchange._tried(socket.create_connection(place, 5), wrong)
            except OSError as problem:
                said.append(problem)

        intruder = threading.Thread(target=intrude)
        intruder.start()
        time.sleep(0.1)
        assert on_all(found, lambda here, rank: here.sum(np.ones(3)).tolist()) == [[2, 2, 2]] * 2
        intruder.join()
        assert len(said) == 1
        for one in (silent, talking):
            one.close()


def test_who_connects_gives_its_secret_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SECONDS_TO_MEET", 0.5)
    with lane(2) as found:
        heard = bytearray()

        def listen() -> None:
            other, _ = found[0].listening.accept()
            other.sendall(b"\0" * 64)
            while piece := other.recv(1000):
                heard.extend(piece)

        stranger = threading.Thread(target=listen)
        stranger.start()
        with pytest.raises(ConnectionError, match=r"worker 0 at 127.0.0.1:\d+ does not answer: "):
            Exchange(found[1])
        stranger.join()
        assert len(heard) == 4 + exchange.NONCE_BYTES
        assert SECRET not in heard


def test_workers_that_do_not_come_are_waited_for_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SECONDS_TO_MEET", 0.2)
    with lane(2) as found, pytest.raises(ConnectionError, match="not all workers came"):
        Exchange(found[0])


def test_a_worker_that_still_computes_is_waited_for_however_much_waits_for_it() -> None:
    def body(here: Exchange, rank: int) -> tuple[list[int], float]:
        limits = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for one in here._others.values()]
        time.sleep(1.5 * rank)
        # More than fits into the buffers between them.
        return limits, float(here.sum(np.ones(4_000_000)).sum())

    with lane(2) as found:
        assert on_all(found, body) == [([0], 8_000_000.0)] * 2


@pytest.mark.parametrize("size", [1_000_000, 3])
def test_a_peer_that_goes_ends_the_sum(size: int) -> None:
    def body(here: Exchange, rank: int) -> str:
        if rank == 1:
            for other in here._others.values():
                # What the others send still arrives: they must see that nothing comes back.
                other.shutdown(socket.SHUT_WR)
                other.setblocking(False)
            time.sleep(0.5)
            for other in here._others.values():
                other.close()
            return "gone"
        with pytest.raises(ConnectionError):
            here.sum(np.ones(size))
        return "heard"

    with lane(3) as found:
        assert sorted(on_all(found, body)) == ["gone", "heard", "heard"]


def test_a_worker_listens_where_the_others_are_told_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_listening", None)
    monkeypatch.setattr(peers, "_introduced", None)
    with pytest.raises(RuntimeError, match="was not introduced"):
        peers.introduced()
    address = peers.listen("127.0.0.1")
    peers.introduce(0, [address, "127.0.0.1:1"], SECRET)
    found = peers.introduced()
    with found.listening as listening:
        assert listening.getsockname() == peers.place_of(address)
    assert (found.rank, found.addresses[0], found.secret) == (0, address, SECRET)
    assert peers.place_of("[fe80::7]:4002") == ("fe80::7", 4002)
    assert peers.new_secret() != peers.new_secret()


def test_a_lone_worker_listens_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_listening", None)
    peers.introduce(0, ["127.0.0.1:1"], SECRET)
    assert peers._listening is None

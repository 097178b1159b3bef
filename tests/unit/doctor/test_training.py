"""The checks of a training on this machine: they pass on its processors, and see what they are for."""

import socket
from pathlib import Path

import pytest

from cluster.doctor import training
from cluster.doctor.finding import Site


def test_this_process_s_own_listeners_are_seen() -> None:
    before = set(training.listeners())
    with socket.create_server(("127.0.0.1", 0)) as here, socket.create_server(("0.0.0.0", 0)) as open_one:
        added = set(training.listeners()) - before
        assert added == {f"127.0.0.1:{here.getsockname()[1]}", f"0.0.0.0:{open_one.getsockname()[1]}"}


def test_an_address_of_the_kernels_table_is_read() -> None:
    assert training._address("0100007F:1F90") == "127.0.0.1:8080"
    assert training._address("00000000000000000000000001000000:0016") == "[::1]:22"


@pytest.mark.tf
def test_memory_that_runs_out_is_understood_and_a_training_repeats(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert training.out_of_memory(site) == "refused, and understood: MemoryError"
    assert training.repeats(site).startswith("50 updates twice: sha256 ")


@pytest.mark.tf
def test_two_workers_sum_and_nobody_else_reaches_them(tmp_path: Path) -> None:
    assert training.two_workers(Site(tmp_path)).endswith(" MiB/s, nobody listens but on loopback")

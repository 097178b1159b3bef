"""A worker's memory: its peak, its limit, and the faces of running out of it."""

import multiprocessing
import signal

import pytest

from trainer.machine import memory

MIB = 2**20


class ResourceExhaustedError(Exception):
    """As TensorFlow's is called."""


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        ResourceExhaustedError("a tensor"),
        RuntimeError("Failed to call DoRnnForward with model config: ..."),
        RuntimeError("UNKNOWN: CUDNN_STATUS_ALLOC_FAILED in tensorflow/..."),
        RuntimeError("INTERNAL: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 800 bytes."),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("Status: 1, message: could not create a primitive, in file tensorflow/core/kernels/mkl/x.cc:1"),
        "LLVM ERROR: pthread_create failed: Resource temporarily unavailable",
        "Check failed: ret == 0 (11 vs. 0) Thread tf_async_compiler_threads creation via pthread_create() failed.",
        "[low_level_alloc.cc : 569] RAW: mmap error: 12",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
    ids=str,
)
def test_it_shows_in_many_ways(problem: BaseException | str) -> None:
    assert memory.is_exhausted(problem)


def test_it_shows_behind_another_error_and_nothing_else_does() -> None:
    outer = RuntimeError("the graph failed")
    outer.__cause__ = MemoryError()
    assert memory.is_exhausted(outer)
    assert not memory.is_exhausted(ValueError("labels out of range"))
    assert not memory.is_exhausted("terminate called after throwing an instance of 'std::logic_error'")


@pytest.mark.parametrize(
    ("exit_code", "said", "exhausted"),
    [
        (-signal.SIGKILL, "", True),
        (137, "", True),
        (-signal.SIGABRT, "what():  std::bad_alloc", True),
        (-signal.SIGABRT, "Check failed: rows == 3", False),
        (-signal.SIGSEGV, "", False),
        (0, "Out of memory", False),
        (1, "", False),
    ],
)
def test_the_end_of_a_process(exit_code: int, said: str, exhausted: bool) -> None:
    assert memory.ended_exhausted(exit_code, said) is exhausted


def _holds(limit: int, wanted: int, pipe: object) -> None:
    memory.limit_memory(limit)
    try:
        held = bytearray(wanted)
        answer = len(held)
    except MemoryError:
        answer = 0
    pipe.send((answer, memory._status()["VmHWM"]))  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(("wanted", "held"), [(100 * MIB, 100 * MIB), (900 * MIB, 0)])
def test_a_limit_is_kept(wanted: int, held: int) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_holds, args=(1000 * MIB, wanted, theirs))
    process.start()
    answer, peak = ours.recv()
    process.join()
    assert answer == held
    assert held <= peak < 1000 * MIB
    assert process.exitcode == 0


def test_the_line_that_says_so_is_found() -> None:
    said = "Graph execution error:\n\n  OOM when allocating tensor with shape[51,9]\nand more"
    assert memory.sign_of_exhaustion(said) == "OOM when allocating tensor with shape[51,9]"
    assert memory.sign_of_exhaustion("nothing of the kind") is None


def test_a_limit_below_what_is_held_is_said_at_once() -> None:
    with pytest.raises(MemoryError, match=r"before its first row, but its limit is 1,048,576"):
        memory.limit_memory(MIB)

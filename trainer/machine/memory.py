"""A worker's memory: its peak, its limit, and the signs that it ran out.

On a CPU, a limit stands in for the memory of a card. It is RLIMIT_DATA, which since Linux 4.7 counts every private page
that a process may write, touched or not: an allocation beyond it fails like one on a full card. Before its first row, a
Ray worker has reserved over a gigabyte of threads' stacks that it never touched and that takes no memory, so the limit
applies to what is added from then on. Mapped files (TensorFlow's code, some 0.4 GB, and later the data) do not count as
data, but they are subtracted from the limit, so that the peak of all resident memory stays below it.
"""

import resource
from collections.abc import Iterator
from pathlib import Path

# Texts by which TensorFlow, XLA, cuDNN and C++ report it. cuDNN may report only that a kernel could not be run.
SIGNS = (
    "RESOURCE_EXHAUSTED",
    "ResourceExhausted",
    "MemoryError",
    "OOM when allocating",
    "Out of memory",
    "out of memory",
    "OUT_OF_MEMORY",
    "std::bad_alloc",
    "Cannot allocate memory",
    # From absl, TensorFlow and LLVM, which then abort, and from oneDNN, whose status 1 means out of memory.
    "mmap error: 12",
    "creation via pthread_create() failed",
    "pthread_create failed: Resource temporarily unavailable",
    "Status: 1, message: could not create a primitive",
    "Failed to call DoRnnForward",
    "Failed to call DoRnnBackward",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_CLASSES = {"ResourceExhaustedError", "MemoryError"}
# A worker's mapped files come to take this many bytes more than before its first row (code alone took 70 MB), and at
# least this many in total, since pages that are not in use may have left memory.
MORE_FILE_BYTES, FILE_BYTES = 96 * 2**20, 512 * 2**20
# SIGKILL, as a negative exit code and as a shell or a container reports it: the kernel kills so when memory is full.
_KILLED = (-9, 137)


def limit_memory(limit_bytes: int) -> None:
    """Let this process hold at most `limit_bytes` from now on. Call it once everything is imported.

    Raises:
        MemoryError: the process already holds more.
    """
    status = _status()
    held = status["RssAnon"] + status["RssShmem"] + max(status["RssFile"] + MORE_FILE_BYTES, FILE_BYTES)
    if (room := limit_bytes - held) < 0:
        raise MemoryError(f"a worker holds {held:,} bytes before its first row, but its limit is {limit_bytes:,}")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (status["VmData"] + room, hard))


def lift_limit() -> None:
    """Remove the limit, since reporting that memory ran out takes some memory."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def peak_bytes() -> int:
    """The most bytes that this process has held: on the GPU if it uses one, else resident in main memory."""
    import tensorflow as tf

    if devices := tf.config.list_logical_devices("GPU"):
        return sum(
            int(tf.config.experimental.get_memory_info(device.name.removeprefix("/device:"))["peak"])
            for device in devices
        )
    # Not the peak of getrusage, which a process inherits from the one that started it.
    return _status()["VmHWM"]


def sign_of_exhaustion(text: str) -> str | None:
    """The line of a text that reports that memory ran out; None if there is no such line."""
    return next((line.strip() for line in text.splitlines() if is_exhausted(line)), None)


def is_exhausted(problem: BaseException | str) -> bool:
    """Whether an error, or a process's output before it ended, means that memory ran out."""
    if isinstance(problem, str):
        return any(sign in problem for sign in SIGNS)
    return any(
        bool(_CLASSES & {kind.__name__ for kind in type(link).__mro__}) or is_exhausted(str(link))
        for link in _chain(problem)
    )


def ended_exhausted(exit_code: int, said: str = "") -> bool:
    """Whether a process ran out of memory, judged by its exit code (negative for a signal) and its stderr, `said`."""
    return exit_code in _KILLED or (exit_code != 0 and is_exhausted(said))


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__


def _status() -> dict[str, int]:
    """The bytes that the kernel counts for this process, by kind."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}

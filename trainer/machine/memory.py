"""A worker's memory: the most it has held, a limit to it, and how running out of it shows.

On a CPU a limit stands in for a card's memory. It is RLIMIT_DATA, which since Linux 4.7 counts every private page a
process may write, touched or not: an allocation beyond it fails as one on a full card does. What a Ray worker has asked
for and not touched before its first row, over a gigabyte of threads' stacks, is no memory, so what is limited is how
much is added. What a process maps of files (TensorFlow's code, some 0.4 GB, and later the data) is not data, but is
taken off the limit, so that the peak of all that is resident stays below it.
"""

import resource
from collections.abc import Iterator
from pathlib import Path

# Texts by which TensorFlow, XLA, cuDNN and C++ say it. cuDNN out of memory can say only that a kernel could not be run.
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
    # Of absl, TensorFlow and LLVM, which then abort, and of oneDNN, whose status 1 it is.
    "mmap error: 12",
    "creation via pthread_create() failed",
    "pthread_create failed: Resource temporarily unavailable",
    "Status: 1, message: could not create a primitive",
    "ThenRnnForward",
    "ThenRnnBackward",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_CLASSES = {"ResourceExhaustedError", "MemoryError"}
# Of files a worker comes to hold so many bytes more than before its first row (of code, 70 MB were measured), and at
# least so many in all: what is not used at the moment may have left memory.
MORE_FILE_BYTES, FILE_BYTES = 96 * 2**20, 512 * 2**20
# SIGKILL, as a process's negative exit code and as a shell or a container says it: the kernel's choice when the
# machine is full.
_KILLED = (-9, 137)


def limit_memory(limit_bytes: int) -> None:
    """Let this process hold at most `limit_bytes` from now on. Call it when everything is imported.

    Raises:
        MemoryError: it holds more already.
    """
    status = _status()
    held = status["RssAnon"] + status["RssShmem"] + max(status["RssFile"] + MORE_FILE_BYTES, FILE_BYTES)
    if (room := limit_bytes - held) < 0:
        raise MemoryError(f"a worker holds {held:,} bytes before its first row, its limit is {limit_bytes:,}")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (status["VmData"] + room, hard))


def lift_limit() -> None:
    """End the limit: to say that memory ran out takes some."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def peak_bytes() -> int:
    """The most bytes that this process has held: of a GPU if it uses one, else resident in main memory."""
    import tensorflow as tf

    if devices := tf.config.list_logical_devices("GPU"):
        return sum(
            int(tf.config.experimental.get_memory_info(device.name.removeprefix("/device:"))["peak"])
            for device in devices
        )
    # Not getrusage's, which a process inherits from the one that started it.
    return _status()["VmHWM"]


def sign_of_exhaustion(said: str) -> str | None:
    """The line of a text that says that memory ran out; None if none does."""
    return next((line.strip() for line in said.splitlines() if is_exhausted(line)), None)


def is_exhausted(problem: BaseException | str) -> bool:
    """Whether an error, or what a process said before it ended, means that memory ran out."""
    if isinstance(problem, str):
        return any(sign in problem for sign in SIGNS)
    return any(
        bool(_CLASSES & {kind.__name__ for kind in type(one).__mro__}) or is_exhausted(str(one))
        for one in _chain(problem)
    )


def ended_exhausted(exit_code: int, said: str = "") -> bool:
    """Whether a process that ended with `exit_code` (a signal is negative) ran out of memory; `said` is its stderr."""
    return exit_code in _KILLED or (exit_code != 0 and is_exhausted(said))


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__


def _status() -> dict[str, int]:
    """The bytes of each kind that the kernel counts for this process."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}

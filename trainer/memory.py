"""A worker's memory: the most it has held, a limit to it, and how running out of it shows.

On a CPU a limit stands in for a card's memory. It is RLIMIT_DATA, which since Linux 4.7 counts every private page a
process may write, touched or not: an allocation beyond it fails as one on a full card does. What a process maps of
files (TensorFlow's code, some 0.4 GB) is not data, but is taken off the limit, so that the peak of all that is resident
stays below it.
"""

import resource
from collections.abc import Iterator
from pathlib import Path

# Texts by which TensorFlow, XLA, cuDNN and C++ say it. cuDNN out of memory can say only that a kernel could not be run.
SIGNS = (
    "RESOURCE_EXHAUSTED",
    "ResourceExhausted",
    "OOM when allocating",
    "Out of memory",
    "out of memory",
    "OUT_OF_MEMORY",
    "std::bad_alloc",
    "Cannot allocate memory",
    "ThenRnnForward",
    "ThenRnnBackward",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_CLASSES = {"ResourceExhaustedError", "MemoryError"}
# SIGKILL, as a process's negative exit code and as a shell or a container says it: the kernel's choice when the
# machine is full.
_KILLED = (-9, 137)


def limit_memory(limit_bytes: int) -> None:
    """Let this process hold at most `limit_bytes` from now on. Call it when everything is imported.

    Raises:
        MemoryError: it holds more already.
    """
    status = _status()
    room = limit_bytes - status["RssFile"] - status["RssShmem"]
    if room < status["VmData"]:
        raise MemoryError(
            f"a worker holds {status['VmData'] + limit_bytes - room:,} bytes before its first row, "
            f"its limit is {limit_bytes:,}"
        )
    resource.setrlimit(resource.RLIMIT_DATA, (room, resource.getrlimit(resource.RLIMIT_DATA)[1]))


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

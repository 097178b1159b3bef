"""Ctrl-C, SIGTERM and SIGHUP during a command: the first signal ends it in order, the second at once.

The first signal is raised in the main thread, wherever that is, so that every `with` on the way out cleans up. Where an
exception could break something, the signal is only counted: during an import and inside `deferred`, it is raised when
that ends; inside `counted`, the caller looks at `count`. A second signal ends the process at once, because an exception
from a handler may come in the middle of an `except` or a `finally` and leave half of the work undone. A program that
calls batchscope from Python (`heeded`) is not ours to end: there the second signal is raised at once.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

EXIT_SIGNAL = 128
# A closed terminal counts as SIGTERM: the command saves, and ends with the same exit code.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
# `timeout` and process supervisors signal a process and then its group: two signals faster than a person's.
SECONDS_OF_ONE = 0.1
SECONDS_BETWEEN_LOOKS = 0.05


class StoppedError(KeyboardInterrupt):
    """The first signal, in the main thread; it is a KeyboardInterrupt because libraries let that through."""


@dataclass
class _Heard:
    """The signals that this process has received, and how it treats further ones."""

    numbers: list[int] = field(default_factory=list)
    last_at: float = float("-inf")
    deferring: int = 0
    counting: int = 0
    raised: bool = False
    over: bool = False
    guest: bool = False
    terminals: tuple[int, ...] = ()
    last_things: list[Callable[[], None]] = field(default_factory=list)


_heard = _Heard()


def install() -> None:
    """Heed the signals from now on, except those that the process was started to ignore (`nohup`, a job with `&`)."""
    global _heard
    _heard = _Heard(terminals=tuple(number for number in (1, 2) if os.isatty(number)))
    for number in EXIT_CODES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _take)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Heed the signals inside the block, in a user's program; then restore its handlers and pass the signal on to them.

    So when all is saved, Ctrl-C becomes a KeyboardInterrupt and SIGTERM ends the program. Python sets handlers only in
    the main thread: in another thread no signal is heeded. If the signals are heeded already, nothing changes.

    Raises:
        StoppedError: a signal came, and the program's own handler let it pass.
    """
    global _heard
    before, handlers = _heard, {number: signal.getsignal(number) for number in EXIT_CODES}
    if _take in handlers.values() or threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)]
    _heard = mine = _Heard(guest=True)
    for number in ours:
        signal.signal(number, _take)
    stopped = None
    try:
        yield
    except StoppedError as problem:
        stopped = problem
    finally:
        for number in ours:
            signal.signal(number, handlers[number])
        _heard = before
    if mine.numbers:
        signal.raise_signal(mine.numbers[0])
    if stopped is not None:
        raise stopped


def put_back() -> None:
    """Set Python's handlers again, after a library's C code has set its own under them."""
    if threading.current_thread() is threading.main_thread():
        for number in EXIT_CODES:
            if signal.getsignal(number) is _take:
                signal.signal(number, _take)


def count() -> int:
    """How many signals have come so far."""
    return len(_heard.numbers)


def exit_code() -> int | None:
    """The exit code of a process that a signal ended; None while no signal has come."""
    return EXIT_CODES[signal.Signals(_heard.numbers[0])] if _heard.numbers else None


def settle() -> None:
    """End here if a signal came, since the command is over; a signal from now on ends the process at once.

    On its own way out, Python restores the system's handlers, so a second Ctrl-C would kill it.
    """
    _heard.over = True
    _do_last_things()
    if _heard.numbers:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        _end_now()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Hold back a first signal until the block ends.

    Raises:
        StoppedError: a signal came.
    """
    _heard.deferring += 1
    try:
        yield
    finally:
        _heard.deferring -= 1
    _raise_if_due(None)


@contextlib.contextmanager
def counted() -> Iterator[None]:
    """Only count the first two signals inside: the caller looks, saves after the first and leaves after the second."""
    _heard.counting += 1
    try:
        yield
    finally:
        _heard.raised = _heard.raised or bool(_heard.numbers)
        _heard.counting -= 1


@contextlib.contextmanager
def last_thing(do: Callable[[], None]) -> Iterator[None]:
    """Call `do` when the block ends, or when the process ends at once; `do` must not wait for a lock or an answer."""
    _heard.last_things.append(do)
    try:
        yield
    finally:
        with deferred():
            do()
            _heard.last_things.remove(do)


def _take(number: int, frame: FrameType | None) -> None:
    now, before = time.monotonic(), _heard.last_at
    if number == signal.SIGHUP:
        _leave_terminals()
    if _heard.numbers and number == _heard.numbers[-1] and now - before < SECONDS_OF_ONE:
        return
    _heard.last_at = now
    _heard.numbers.append(number)
    if _heard.guest and count() > 1 and not _heard.counting:
        raise StoppedError
    if not _heard.guest and (_heard.over or count() > (2 if _heard.counting else 1)):
        _end_now()
    _raise_if_due(frame)


def _raise_if_due(frame: FrameType | None) -> None:
    if not _heard.numbers or _heard.raised or _heard.deferring or _heard.counting or _heard.over:
        return
    if _importing(frame):
        # A compiled module swallows an exception that is raised during its import, and prints it.
        signal.signal(signal.SIGALRM, lambda number, frame: _raise_if_due(frame))
        signal.setitimer(signal.ITIMER_REAL, SECONDS_BETWEEN_LOOKS)
        return
    _heard.raised = True
    raise StoppedError


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _leave_terminals() -> None:
    """Redirect output away from a closed terminal, where writing raises an error that would interrupt the saving."""
    for number in _heard.terminals:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    _heard.terminals = ()


def _end_now() -> None:
    status = exit_code()
    assert status is not None
    if not _heard.over:
        # Another signal meanwhile does not wait for them.
        _heard.over = True
        _do_last_things()
    if 2 in _heard.terminals:
        # A live view hides the cursor.
        with contextlib.suppress(OSError):
            os.write(2, b"\x1b[?25h\n")
    os._exit(status)


def _do_last_things() -> None:
    """Call what has not been called yet: a signal may come on the way into a `finally`."""
    for do in reversed(_heard.last_things):
        with contextlib.suppress(Exception):
            do()

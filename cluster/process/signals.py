"""Ctrl-C, SIGTERM and SIGHUP from a command's first moment to its last: one ends it in order, another one at once.

The first signal is raised where the main thread is, so that every `with` on the way out cleans up. Where that could
break what is going on it only counts: in an import and inside `deferred` until that ends, and inside `counted` the
caller looks at `count` himself. A second signal ends the process at once, wherever it is: an exception out of a handler
may come in the middle of an `except` or a `finally`, and clean up half. A program that calls us from Python (`heeded`)
is not ours to end: there it is raised, at once.
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
# A closed terminal counts as SIGTERM: it saves, and ends with the same exit code.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
# `timeout` and process supervisors signal a process, and then the group that it belongs to. Nobody presses so fast.
SECONDS_OF_ONE = 0.1
SECONDS_BETWEEN_LOOKS = 0.05


class StoppedError(KeyboardInterrupt):
    """The first signal, in the main thread; a KeyboardInterrupt, since libraries let that one through."""


@dataclass
class _Heard:
    """What this process has heard so far, and how it takes what comes."""

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
    """Heed the signals from now on; what the process was started to ignore (`nohup`, a job with `&`) stays ignored."""
    global _heard
    _heard = _Heard(terminals=tuple(number for number in (1, 2) if os.isatty(number)))
    for number in EXIT_CODES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _take)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Heed the signals inside, in somebody's program; then its own handlers are back, and are given what came.

    So Ctrl-C is a KeyboardInterrupt when all is saved, and SIGTERM ends the program then. In another thread than the
    main one, Python takes no handlers: there nothing is heeded. Where they are heeded already, nothing changes.

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
    """How many signals came so far."""
    return len(_heard.numbers)


def exit_code() -> int | None:
    """What a process ends with that was told to stop; None while no signal came."""
    return EXIT_CODES[signal.Signals(_heard.numbers[0])] if _heard.numbers else None


def settle() -> None:
    """The command is over: whoever was told to stop ends here, and a signal from now on ends the rest at once.

    Python's own way out puts the system's handlers back before it ends, so that a second Ctrl-C would kill it.
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
    """A first signal inside is raised when the block ends.

    Raises:
        StoppedError: it came.
    """
    _heard.deferring += 1
    try:
        yield
    finally:
        _heard.deferring -= 1
    _raise_if_due(None)


@contextlib.contextmanager
def counted() -> Iterator[None]:
    """Inside, two signals only count: the caller looks, saves after the first, and leaves after the second."""
    _heard.counting += 1
    try:
        yield
    finally:
        _heard.raised = _heard.raised or bool(_heard.numbers)
        _heard.counting -= 1


@contextlib.contextmanager
def last_thing(do: Callable[[], None]) -> Iterator[None]:
    """When the block ends, do `do`, also where the process ends at once: it waits for nothing, no lock, no answer."""
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
        # A compiled module swallows what is raised while it begins, and prints it.
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
    """A terminal that has gone answers a line with an error, which would end what is being saved."""
    for number in _heard.terminals:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    _heard.terminals = ()


def _end_now() -> None:
    status = exit_code()
    assert status is not None
    if not _heard.over:
        # Another signal, while these are done, waits for none of them.
        _heard.over = True
        _do_last_things()
    if 2 in _heard.terminals:
        # A live view hides the cursor.
        with contextlib.suppress(OSError):
            os.write(2, b"\x1b[?25h\n")
    os._exit(status)


def _do_last_things() -> None:
    """Those that are still to be done: a signal may come on the way into a `finally`."""
    for do in reversed(_heard.last_things):
        with contextlib.suppress(Exception):
            do()

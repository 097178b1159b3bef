"""A call to S3 that ends: tried again while what stops it may pass, and given up when its time is over.

No S3 client bounds a whole call: its timeouts are between bytes, and a server that sent 4 bytes a second held boto3
for as long as anybody waited (past 90 s with `read_timeout=5`). So each try runs in a daemon thread that can be given
up, early enough for another one: when it has moved nothing more for PATIENCE_SECONDS.
"""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cluster.stores.refusals import may_pass, refusal
from trainer.errors import NotReadyError

# One chunk must arrive within the patience: 17 KiB/s is the slowest answer that is still waited for.
CHUNK_BYTES = 256 * 1024
PATIENCE_SECONDS = 15.0
# What moves large objects may take this much longer than the call's seconds.
BYTES_PER_SECOND = 1_000_000
# The pause after try n is drawn between 0 and FIRST_PAUSE_SECONDS * 2**n, at most LONGEST_PAUSE_SECONDS ("full
# jitter": AWS Architecture Blog, "Exponential Backoff And Jitter").
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 8.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is asked of S3. `action` is its name in IAM; `seconds` are for all tries; `uploads` counts bytes."""

    action: str
    bucket: str
    place: str
    seconds: float
    uploads: int = 0


class GivenUpError(Exception):
    """This try was given up: its thread is to end and to touch nothing more."""


class Try(Generic[Answer]):
    """One try of a call, in a thread of its own. What it does to anything outside goes through `step`."""

    def __init__(self, work: "Callable[[Try[Answer]], Answer]") -> None:
        """Begin `work`."""
        self.bytes_moved = 0
        self.answer: Answer | None = None
        self.problem: Exception | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._given_up = False
        self._body: Any = None
        # A daemon: one that never returns must not hold up the end of the process either.
        threading.Thread(target=self._run, args=(work,), name="s3-try", daemon=True).start()

    def reads(self, body: Any) -> None:
        """Remember the body of an answer, to wake whoever reads it when the try is given up."""
        self._body = body

    def step(self, do: Callable[[], object], *, moved: int = 1) -> None:
        """Do something with what has arrived, unless the try was given up.

        Raises:
            GivenUpError: it was.
        """
        with self._lock:
            if self._given_up:
                raise GivenUpError
            do()
            self.bytes_moved += moved

    def ended(self, seconds: float) -> bool:
        """Whether it has ended, after at most `seconds`; then `problem` is None or `answer` is None."""
        return self._over.wait(max(0.0, seconds))

    def give_up(self) -> None:
        """Wait no more; when this returns, the try does nothing more to what is outside."""
        with self._lock:
            self._given_up = True
        if self._body is not None:
            # The reader's next wait for bytes ends at once. Without this a dripping server keeps thread and socket.
            with contextlib.suppress(AttributeError, OSError):
                self._body.set_socket_timeout(0.01)

    def _run(self, work: "Callable[[Try[Answer]], Answer]") -> None:
        try:
            self.answer = work(self)
        except Exception as problem:  # noqa: BLE001 - raised again by `persist`, in the caller's thread
            self.problem = problem
        self._over.set()


class _Clock:
    """The seconds that a call has left."""

    def __init__(self, call: Call) -> None:
        self._ends = time.monotonic() + call.seconds
        self._bytes = call.uploads

    def left(self, one: Try[Any]) -> float:
        # By what a try really moved, and not by what an answer promises: nobody can promise the time away.
        self._bytes = max(self._bytes, one.bytes_moved)
        return self._ends + self._bytes / BYTES_PER_SECOND - time.monotonic()


def persist(call: Call, work: Callable[[Try[Answer]], Answer]) -> Answer:
    """What `work` returns in the first try that succeeds. A try can begin while one that was given up still ends.

    Raises:
        NotReadyError: the store refuses, which no other try would change, or no try succeeded in time.
        FileNotFoundError: the object is not there.
    """
    clock, last = _Clock(call), ""
    for number in itertools.count():
        one = Try(work)
        if _ended(one, call, clock):
            if one.problem is None:
                return one.answer  # type: ignore[return-value]
            if not may_pass(one.problem):
                raise refusal(call.bucket, call.action, call.place, one.problem) from None
            last = _named(one.problem)
        elif not last or clock.left(one) > 0:  # One cut off by the clock tells less than the one before it.
            last = "too slow an answer" if one.bytes_moved else "silence"
        pause = random.uniform(0, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number))
        if clock.left(one) <= pause:
            raise NotReadyError(
                f"cannot use {call.place}: no whole answer to {call.action} within {call.seconds:g} s, "
                f"in {number + 1} {'tries' if number else 'try'} (the last: {last}); look at the network and "
                "AWS_ENDPOINT_URL"
            )
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _ended(one: Try[Any], call: Call, clock: _Clock) -> bool:
    """Wait for a try while it moves; one that does not, or for which no time is left, is given up."""
    patience, seen = PATIENCE_SECONDS + call.uploads / BYTES_PER_SECOND, 0
    try:
        while not one.ended(min(patience, clock.left(one))):
            if one.bytes_moved == seen or clock.left(one) <= 0:
                one.give_up()
                return False
            seen = one.bytes_moved
    except BaseException:
        one.give_up()
        raise
    return True


def _named(problem: Any) -> str:
    """S3's code for a problem, or its type: the text of some holds addresses."""
    response = getattr(problem, "response", None)
    return str(response["Error"].get("Code", "?")) if isinstance(response, dict) else type(problem).__name__

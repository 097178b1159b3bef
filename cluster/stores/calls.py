"""A call to S3 that ends: it is tried again while the obstacle may pass, and given up when its time is over.

No S3 client bounds a whole call: its timeouts apply between bytes, and a server that sent 4 bytes a second held boto3
for as long as anybody waited (past 90 s with `read_timeout=5`). So each try runs in a daemon thread and is given up
when it has moved no byte for PATIENCE_SECONDS, early enough for another try.
"""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cluster.stores.client import renewed
from cluster.stores.refusals import REMEDIES, found_no_credentials, has_expired, may_pass, refusal
from cluster.stores.waiting import Wait
from trainer.errors import NotReadyError

# One chunk must arrive within the patience, so 17 KiB/s is the slowest answer that is waited for.
CHUNK_BYTES = 256 * 1024
PATIENCE_SECONDS = 15.0
# A call may take a second longer for each of these bytes that it moves.
BYTES_PER_SECOND = 1_000_000
# The pause after try n is drawn between 0 and FIRST_PAUSE_SECONDS * 2**n, at most LONGEST_PAUSE_SECONDS ("full
# jitter": AWS Architecture Blog, "Exponential Backoff And Jitter").
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 8.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to S3. `action` is its name in IAM; `seconds` are for all tries together; `uploads` counts bytes."""

    action: str
    bucket: str
    place: str
    seconds: float
    uploads: int = 0


class GivenUpError(Exception):
    """This try was given up: its thread must end and touch nothing more."""


class Try(Generic[Answer]):
    """One try of a call, in a thread of its own. Everything that it does to the outside goes through `step`."""

    def __init__(self, work: "Callable[[Try[Answer]], Answer]") -> None:
        """Begin `work`."""
        self.bytes_moved = 0
        self.answer: Answer | None = None
        self.problem: Exception | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._given_up = False
        self._body: Any = None
        # A daemon, since a thread that never returns must not hold up the end of the process either.
        threading.Thread(target=self._run, args=(work,), name="s3-try", daemon=True).start()

    def reads(self, body: Any) -> None:
        """Remember the body of an answer, so that `give_up` can wake its reader."""
        self._body = body

    def step(self, do: Callable[[], object], *, moved: int = 1) -> None:
        """Call `do` with what has arrived, unless the try was given up.

        Raises:
            GivenUpError: the try was given up.
        """
        with self._lock:
            if self._given_up:
                raise GivenUpError
            do()
            self.bytes_moved += moved

    def ended(self, seconds: float) -> bool:
        """Whether the try has ended after at most `seconds`; then `problem` or `answer` is None."""
        return self._over.wait(max(0.0, seconds))

    def give_up(self) -> None:
        """Wait no longer; once this returns, the try no longer affects anything outside."""
        with self._lock:
            self._given_up = True
        if self._body is not None:
            # The reader's next wait for bytes ends at once; otherwise a dripping server would hold thread and socket.
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
        # Counted by the bytes that a try really moved: a size that an answer only promises buys no time.
        self._bytes = max(self._bytes, one.bytes_moved)
        return self._ends + self._bytes / BYTES_PER_SECOND - time.monotonic()


def persist(call: Call, work: Callable[[Try[Answer]], Answer]) -> Answer:
    """What `work` returns in the first try that succeeds. A try can begin while an abandoned one is still ending.

    Raises:
        NotReadyError: the store refuses, which another try would not change, or no try succeeded in time.
        FileNotFoundError: the object is not there.
    """
    clock, last = _Clock(call), ""
    wait = Wait(call.place, call.action, call.seconds)
    for number in itertools.count():
        began = time.monotonic()
        one = Try(work)
        if _ended(one, call, clock, wait):
            if one.problem is None:
                return one.answer  # type: ignore[return-value]
            if not may_pass(one.problem) and not _has_others(one.problem, began):
                raise refusal(call.bucket, call.action, call.place, one.problem) from None
            last = _named(one.problem)
        elif not last or clock.left(one) > 0:  # A try cut off by the clock explains less than the previous one.
            last = "too slow an answer" if one.bytes_moved else "silence"
        pause = random.uniform(0, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number))
        if clock.left(one) <= pause:
            remedy = REMEDIES.get(last, "check the network and AWS_ENDPOINT_URL")
            raise NotReadyError(
                f"cannot use {call.place}: no whole answer to {call.action} within {call.seconds:g} s, "
                f"in {number + 1} {'tries' if number else 'try'} (the last: {last}); {remedy}"
            )
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _has_others(problem: Exception, began: float) -> bool:
    """Whether the call was refused for its credentials, and there may be other ones for the next try."""
    if found_no_credentials(problem):
        # A client goes on without credentials for ever.
        renewed(began)
        return True
    return has_expired(problem) and renewed(began)


def _ended(one: Try[Any], call: Call, clock: _Clock, wait: Wait) -> bool:
    """Wait for a try as long as it moves bytes and time is left; otherwise give it up. Whether it has ended."""
    patience, moved = PATIENCE_SECONDS + call.uploads / BYTES_PER_SECOND, 0
    try:
        while not _within(min(patience, clock.left(one)), one, wait):
            if one.bytes_moved == moved or clock.left(one) <= 0:
                one.give_up()
                return False
            moved = one.bytes_moved
    except BaseException:
        one.give_up()
        raise
    return True


def _within(seconds: float, one: Try[Any], wait: Wait) -> bool:
    """Whether a try ends within some seconds. Where a word is due meanwhile, and nothing has moved, it is said."""
    silence = wait.seconds_to_word()
    if silence < seconds and not one.bytes_moved:
        if one.ended(silence):
            return True
        if not one.bytes_moved:
            wait.say()
        seconds -= max(0.0, silence)
    return one.ended(seconds)


def _named(problem: Any) -> str:
    """S3's code for a problem, or its type; not its text, which may hold addresses."""
    response = getattr(problem, "response", None)
    return str(response["Error"].get("Code", "?")) if isinstance(response, dict) else type(problem).__name__

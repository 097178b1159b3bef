"""A deadline for the whole of a call that leaves the process."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def before(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises, if it does within `seconds`.

    The timeouts of sockets, and so of boto3 and http.client, are between bytes: a server that sends some bytes each
    second holds a call for as long as it likes. A call that is late is left behind in its thread.

    Raises:
        TimeoutError: it did not.
    """
    answers: queue.SimpleQueue[tuple[T, None] | tuple[None, Exception]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except Exception as problem:  # noqa: BLE001 - raised again below, in the caller's thread
            answers.put((None, problem))

    # A daemon: a call that never returns must not hold up the end of the process either.
    threading.Thread(target=run, name="prices", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if answer[1] is not None:
        raise answer[1]
    return answer[0]

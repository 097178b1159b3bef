"""A deadline for a whole call."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def within(seconds: float | None, call: Callable[[], Answer]) -> Answer:
    """Return or raise what `call` does, if it ends in time; otherwise leave it running in its daemon thread.

    Even without a limit, a signal can end the wait at any moment, because the main thread only waits.

    The timeouts of sockets, and so of boto3, http.client and requests, apply between two bytes: a server that drips can
    hold up a call for as long as it likes. Ray's job client sets no timeout at all.

    Raises:
        TimeoutError: the call has not ended after `seconds`.
    """
    ended: queue.SimpleQueue[tuple[list[Answer], BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put(([call()], None))
        except BaseException as problem:  # noqa: BLE001 - raised again in the caller's thread
            ended.put(([], problem))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, problem = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds or 0:g} s") from None
    if problem is not None:
        raise problem
    return answer[0]

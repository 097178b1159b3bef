"""A lease: one driver a study, also where nothing can be locked, as on S3.

Each holder creates the next number under `drivers/study=NAME/` (create-only: of several, one succeeds) and renews it
now and then by writing it anew. Whoever finds one that was not given back watches whether it is renewed. That compares
no two machines' clocks, and costs a driver that follows a killed one SECONDS_TO_WATCH.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from trainer.errors import InputError, UserError
from trainer.store import Store

SECONDS_BETWEEN_RENEWALS = 10.0
SECONDS_TO_WATCH = 35.0
# A holder that could not renew for as long as a watcher waits must end: another may have begun.
SECONDS_WITHOUT_RENEWAL = 30.0


@contextlib.contextmanager
def held(summary: Store, study: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the study's lease inside; `say` is told what is waited for.

    Raises:
        InputError: another process holds it.
    """
    store = summary.within(f"drivers/study={study}")
    number = _wait_for_last(store, study, say) + 1
    lease = {"host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex}
    there = store.create(_name(number), _body(lease, 0))
    if there is not None and json.loads(there).get("token") != lease["token"]:
        raise _refusal(study, there)
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(store, number, lease, over), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        store.write(_name(number), _body(lease, -1))
        for name in store.names():
            if name < _name(number):
                store.delete(name)


def _wait_for_last(store: Store, study: str, say: Callable[[str], None]) -> int:
    """The number of the last lease, once it is known to be given back or its holder dead; 0 for none."""
    names = store.names()
    if not names:
        return 0
    last = names[-1]
    seen = store.read(last)
    if json.loads(seen)["renewals"] >= 0:
        host = json.loads(seen)["host"]
        say(f"study {study} was not given back by its driver on {host}: watching for {SECONDS_TO_WATCH:g} s ...")
        deadline = time.monotonic() + SECONDS_TO_WATCH
        while time.monotonic() < deadline:
            time.sleep(min(1.0, SECONDS_TO_WATCH / 10))
            now = store.read(last)
            if now != seen:
                if json.loads(now)["renewals"] < 0:
                    break
                raise _refusal(study, now)
    return int(last.removesuffix(".json"))


def _renew(store: Store, number: int, lease: dict[str, object], over: threading.Event) -> None:
    renewals, renewed_at = 0, time.monotonic()
    while not over.wait(SECONDS_BETWEEN_RENEWALS):
        renewals += 1
        with contextlib.suppress(UserError):
            store.write(_name(number), _body(lease, renewals))
            renewed_at = time.monotonic()
        if time.monotonic() - renewed_at > SECONDS_WITHOUT_RENEWAL:
            # As if somebody had asked: the trials are saved, as far as the store answers, and the study stops.
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _name(number: int) -> str:
    return f"{number:09d}.json"


def _body(lease: dict[str, object], renewals: int) -> bytes:
    return json.dumps({**lease, "renewals": renewals}).encode()


def _refusal(study: str, lease: bytes) -> InputError:
    holder = json.loads(lease)
    return InputError(
        f"study {study!r} is being run by another process ({holder['process']} on {holder['host']}): wait for it, or "
        "stop it first"
    )

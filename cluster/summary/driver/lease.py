"""A lease: one driver for each study, even where nothing can be locked, as on S3.

Each holder creates the next number under `drivers/study=NAME/` (create-only: if several try, one succeeds) and renews
it now and then by writing it again. A driver that finds a lease that was not given back watches whether it is renewed.
So no clocks of two machines are compared, and after a killed driver the next one waits SECONDS_TO_WATCH.

A holder that could not renew its lease for SECONDS_WITHOUT_RENEWAL has lost it, by its own clock and before a watcher
may begin, however long a call to the store hangs. A machine's clock can stand still with the machine, so a lease is
also lost when a higher number is there, and a lost lease is never renewed.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from cluster.summary.driver.hold import LapsedError
from trainer.data.store import Store
from trainer.errors import InputError, NotReadyError, UserError

SECONDS_BETWEEN_RENEWALS = 10.0
# Longer than a store or a network is usually away for; after a killed driver the next one waits as long.
SECONDS_TO_WATCH = 125.0
SECONDS_WITHOUT_RENEWAL = 120.0


class Lease:
    """The lease `number` on a study, held by this process."""

    def __init__(self, store: Store, study: str, number: int, holder: dict[str, object], since: float) -> None:
        self._store, self._study, self._number, self._holder = store, study, number, holder
        self._renewed_at, self._renewals = since, 0
        self._lost: NotReadyError | None = None
        self._lock = threading.Lock()

    def lost(self) -> NotReadyError | None:
        """Why the lease is no longer held; None while it is."""
        with self._lock:
            if self._lost is None and time.monotonic() - self._renewed_at > SECONDS_WITHOUT_RENEWAL:
                self._lost = LapsedError(
                    f"{self._store.uri} could not be reached for {SECONDS_WITHOUT_RENEWAL:g} s (or this machine stood "
                    f"still), so another driver may have taken over study {self._study!r} and this one ends: run the "
                    "same command again to continue"
                )
            return self._lost

    def renew(self) -> None:
        """Renew the lease, unless it was lost.

        Raises:
            UserError: the store cannot be used.
        """
        # Checked before each step, because this process may have stood still in between.
        began = time.monotonic()
        if self.lost() or self._is_superseded() or self.lost():
            return
        self._renewals += 1
        self._store.write(_name(self._number), _body(self._holder, self._renewals))
        with self._lock:
            # Counted from the beginning of the call, since a watcher counts from when it saw the renewal. A renewal
            # that took too long came too late.
            if time.monotonic() - self._renewed_at <= SECONDS_WITHOUT_RENEWAL:
                self._renewed_at = began

    def give_back(self) -> None:
        """Let the next driver begin at once; a driver that has already taken over the study is left alone.

        Raises:
            UserError: the store cannot be used.
        """
        if self.lost() or self._is_superseded():
            return
        self._store.write(_name(self._number), _body(self._holder, -1))
        for number in _numbers(self._store):
            if number < self._number:
                self._store.delete(_name(number))

    def _is_superseded(self) -> bool:
        there = _numbers(self._store)
        if there and there[-1] == self._number:
            return False
        what = "another driver has taken over the study" if there and there[-1] > self._number else "it was deleted"
        with self._lock:
            self._lost = self._lost or NotReadyError(
                f"the lease on study {self._study!r} in {self._store.uri} is lost ({what}), so this driver ends: find "
                "out what else runs the study, then run the same command again to continue"
            )
        return True


@contextlib.contextmanager
def held(summary: Store, study: str, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the study's lease during the block; `say` is called with a text if there is a wait.

    Raises:
        InputError: another process holds it.
        NotReadyError: the store cannot be used.
    """
    store = summary.within(f"drivers/study={study}")
    number = _wait_for_last(store, study, say) + 1
    holder: dict[str, object] = {"host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex}
    since = time.monotonic()
    there = store.create(_name(number), _body(holder, 0))
    if there is not None and _read(there).get("token") != holder["token"]:
        raise _refusal(study, there)
    lease, over = Lease(store, study, number, holder, since), threading.Event()
    renewing = threading.Thread(target=_keep, args=(lease, over), daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        over.set()
        renewing.join()
        # If this fails, the next driver has to watch; the failure must not hide an error from inside the block.
        try:
            lease.give_back()
        except UserError as problem:
            say(f"study {study} was not given back to the next driver: {problem}")


def _keep(lease: Lease, over: threading.Event) -> None:
    """Renew the lease until it is over or lost."""
    while not over.wait(SECONDS_BETWEEN_RENEWALS) and lease.lost() is None:
        # Without a success in time, the lease is lost.
        with contextlib.suppress(UserError):
            lease.renew()


def _wait_for_last(store: Store, study: str, say: Callable[[str], None]) -> int:
    """The number of the last lease, once it was given back or its holder is known to be dead; 0 if there is none."""
    numbers = _numbers(store)
    if not numbers:
        return 0
    last = _name(numbers[-1])
    try:
        seen = store.read(last)
        if not _is_given_back(seen):
            host = _read(seen).get("host", "an unknown machine")
            say(f"study {study} was not given back by its driver on {host}: watching for {SECONDS_TO_WATCH:g} s ...")
            deadline = time.monotonic() + SECONDS_TO_WATCH
            while time.monotonic() < deadline:
                time.sleep(min(1.0, SECONDS_TO_WATCH / 10))
                now = store.read(last)
                if now != seen:
                    if _is_given_back(now):
                        break
                    raise _refusal(study, now)
    except FileNotFoundError:
        # A later driver gave back its own lease and deleted this one.
        return _wait_for_last(store, study, say)
    return numbers[-1]


def _numbers(store: Store) -> list[int]:
    """The numbers of the leases that are there, in ascending order; objects with other names are ignored."""
    names = (re.fullmatch(r"(\d{9})\.json", name) for name in store.names())
    return [int(name[1]) for name in names if name]


def _name(number: int) -> str:
    return f"{number:09d}.json"


def _body(holder: dict[str, object], renewals: int) -> bytes:
    return json.dumps({**holder, "renewals": renewals}).encode()


def _read(lease: bytes) -> dict[str, Any]:
    """The fields of a lease; empty if it is damaged."""
    try:
        fields = json.loads(lease)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _is_given_back(lease: bytes) -> bool:
    renewals = _read(lease).get("renewals")
    return isinstance(renewals, int) and renewals < 0


def _refusal(study: str, lease: bytes) -> InputError:
    holder = _read(lease)
    return InputError(
        f"study {study!r} is being run by another process ({holder.get('process')} on {holder.get('host')}): wait for "
        "it, or stop it first"
    )

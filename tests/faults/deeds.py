"""What a fault does, while somebody is held at its point."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.faults.catalogue import SET_BACK, Fault
from tests.faults.points import CLOCK
from tests.faults.stage import DISKS, SECONDS, SECONDS_TO_GO, Stage, StuckError
from tests.faults.verdict import STUDY
from tests.support.faults import Proxy
from tests.support.runs import processes_of
from trainer.data.store import Store

# The disks of a stage, as people call them.
PLACES = {"summary": "summary", "TMPDIR": "t", "Ray's folder": "r", "cache": "c"}
SECONDS_OF_A_CLOCK = 4.0
# Some renewals of a lease whose driver hurries.
SECONDS_TO_RENEW = 6.0


class MissedError(Exception):
    """What was to be struck is not there now, so nothing was done."""


class WrongError(Exception):
    """What followed at once was not as promised."""


@dataclass(frozen=True)
class Struck:
    """A fault under way: where, and who is held; `proxy` is in front of the bucket."""

    fault: Fault
    stage: Stage
    pid: int
    proxy: Proxy | None


def strike(struck: Struck) -> None:
    """Do it, and let go on who was held.

    Raises:
        MissedError: there was nothing to strike.
        WrongError: what followed at once was wrong.
    """
    fault = struck.fault
    deed = _set_back if fault.where == SET_BACK else DEEDS.get(fault.deed, _signal)
    deed(struck)


def _kill(struck: Struck) -> None:
    for process in _victims(struck):
        with contextlib.suppress(psutil.Error):
            process.kill()
    struck.stage.release()


def _signal(struck: Struck) -> None:
    name, times = struck.fault.deed.split()
    [driver] = _victims(struck)
    driver.send_signal(getattr(signal, name))
    struck.stage.release()
    if times == "twice":
        time.sleep(0.3)
        with contextlib.suppress(psutil.Error):
            driver.send_signal(getattr(signal, name))


def _pause(struck: Struck) -> None:
    victims = _victims(struck)
    for process in victims:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    struck.stage.release()
    time.sleep(struck.fault.seconds)
    _resume(victims)


def _resume(paused: Iterable[psutil.Process]) -> None:
    for process in paused:
        with contextlib.suppress(psutil.Error):
            process.resume()


def _fill(struck: Struck) -> None:
    place = PLACES[struck.fault.where]
    filler = struck.stage.folder / place / "filler"
    assert place in DISKS
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    struck.stage.release()
    _wait_while_it_runs(struck)
    filler.unlink(missing_ok=True)


def _spoil(struck: Struck) -> None:
    assert struck.proxy is not None
    fault, begun = struck.fault.where, struck.proxy.fired[struck.fault.where]
    struck.proxy.plan = lambda request: fault
    struck.stage.release()
    try:
        _wait_while_it_runs(struck)
    finally:
        struck.proxy.plan = lambda request: None
    if struck.proxy.fired[fault] == begun:
        raise MissedError("nobody asked the store")


def _set_back(struck: Struck) -> None:
    """The store has again what it had a trial's end ago."""
    stage, store = struck.stage, struck.stage.summary.store
    then = _content(store)
    stage.release()
    if stage.reach("after a row") is None:
        raise MissedError("the driver ended")
    now = _content(store)
    for name in now.keys() - then.keys():
        store.delete(name)
    for name, content in then.items():
        if now.get(name) != content:
            store.write(name, content)
    stage.release()


def _content(store: Store) -> dict[str, bytes]:
    found = {}
    for name in store.names():
        with contextlib.suppress(FileNotFoundError):
            found[name] = store.read(name)
    return found


def _set_clock(struck: Struck) -> None:
    """It jumps, and back a few seconds later."""
    clock = struck.stage.orders / CLOCK
    clock.write_text(str(struck.fault.seconds))
    struck.stage.release()
    time.sleep(SECONDS_OF_A_CLOCK)
    clock.unlink()


def _second(struck: Struck) -> None:
    stage = struck.stage
    if stage.bucket and not _is_renewed(stage):
        # An earlier fault has cost it; whoever takes over then does what is promised.
        raise MissedError("the first driver has lost its lease")
    said = stage.folder / "said-by-the-second"
    second = stage.begin(said)
    status, text = second.wait(SECONDS), said.read_text(errors="replace")
    stage.release()
    if status != 2 or "is being run by another process" not in text:
        raise WrongError(f"the second driver ended with {status}: {text[-1000:]}")


def _is_renewed(stage: Stage) -> bool:
    """Whether the driver still holds its lease."""
    leases = stage.summary.store.within(f"drivers/study={STUDY}")
    before = leases.versions()
    with contextlib.suppress(StuckError):
        stage.until(lambda: leases.versions() != before, "", SECONDS_TO_RENEW)
    return leases.versions() != before


def _taken_over(struck: Struck) -> None:
    """All of a machine stands still for longer than its lease is watched; another driver goes on; both are there."""
    stage, first = struck.stage, struck.stage.driver
    family = processes_of(stage.mark)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    stage.release()
    stage.start()
    try:
        if stage.reach("after a checkpoint's facts", "after the last weights") is None:
            raise WrongError(f"the driver that took over ended with {stage.driver.returncode}: {stage.said()[-1000:]}")
        stage.release()
    finally:
        _resume(family)
    try:
        status = first.wait(SECONDS)
    except subprocess.TimeoutExpired:
        raise WrongError("the first driver went on beside the one that took over") from None
    # It finds that its lease has lapsed, asks for it again, and is refused; or it finds another one in its place.
    if status not in (2, 3):
        raise WrongError(f"the first driver ended with {status}")
    if any(process.is_running() for process in psutil.wait_procs(family, SECONDS_TO_GO)[1]):
        raise WrongError("processes of the first driver went on")


def _remove(struck: Struck) -> None:
    for path in (struck.stage.folder / "summary").iterdir():
        _remove_tree(path)
    struck.stage.release()


def _remove_tree(path: Path) -> None:
    """As `rm -rf`: what others write meanwhile may stay."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            Path(folder, name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    if path.is_file():
        path.unlink(missing_ok=True)


def _victims(struck: Struck) -> list[psutil.Process]:
    """Who is held, if it is of the role; else all of the role."""
    stage, whom = struck.stage, struck.fault.whom
    with contextlib.suppress(psutil.NoSuchProcess):
        held = psutil.Process(struck.pid)
        if stage.role_of(held) == whom:
            return [held]
    found = stage.of_role(whom)
    if not found:
        stage.release()
        raise MissedError(f"no {whom} is there")
    return found


def _wait_while_it_runs(struck: Struck) -> None:
    with contextlib.suppress(StuckError):
        struck.stage.until(lambda: not struck.stage.runs(), "", struck.fault.seconds)


DEEDS: dict[str, Callable[[Struck], None]] = {
    "kill": _kill,
    "pause": _pause,
    "disk full": _fill,
    "store": _spoil,
    "clock jumps": _set_clock,
    "second driver": _second,
    "asleep while another takes over": _taken_over,
    "summary removed": _remove,
}

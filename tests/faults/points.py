"""Named points in the product's processes: whoever comes to one for which there is an order stays there, held.

A campaign (`tests.faults.campaign`) starts a run with `planted` on its path, so that each of its processes has these
points, and the product knows nothing of them. A point is before, inside or after something; inside an object that is
written, its file is there under another name. An order is a file; the first process that comes by takes it by adding
its own number, and goes on when the file is gone.
"""

import functools
import inspect
import os
import re
import time
import types
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import wrapt

# The variable that names the folder of the orders.
ORDERS = "BATCHSCOPE_TEST_ORDERS"
# The file beside the orders with the seconds by which the clock has jumped.
CLOCK = "clock"
# The modules of a run that ask for the time of day, and by what.
OF_THE_DAY = {
    "trainer.journey": "time",
    "cluster.lanes.station": "time",
    "cluster.lanes.attempt": "datetime",
    "cluster.lanes.ledger": "datetime",
    "cluster.drive.opening": "datetime",
}
# The variable by which a lease, and calls to a bucket, take a tenth of their time.
HURRIED = "BATCHSCOPE_TEST_HURRIED"
HELD_AT_MOST_SECONDS = 300.0

# Functions of the product, by module, and what they do.
DONE_BY = {
    "trainer.journey": {"Journey.update": "an update", "Journey.evaluate": "an evaluation"},
    "trainer.update.update": {"Learner.update": "a sum over workers"},
    "cluster.lanes.lane": {"Lane.take": "taking a trial", "Lane._new_group": "a start of workers"},
    "cluster.lanes.board": {
        "Board.post": "a post on the board",
        "Board.take": "a take from the board",
        "Board.tell": "a report to the board",
        "Board.beat": "a beat to the board",
    },
    "cluster.process.ray_session": {"_start": "the start of Ray"},
    "cluster.drive.run": {"begun_schedule": "the start of lanes", "_closed": "the closing of a study"},
}
# What an object is, by its name in the summary.
KINDS = (
    (re.compile(r"checkpoints/.*/resume-\d+\.npz"), "a checkpoint's archive"),
    (re.compile(r"checkpoints/.*/resume-\d+\.json"), "a checkpoint's facts"),
    (re.compile(r"checkpoints/.*/best\.npz"), "the best weights"),
    (re.compile(r"checkpoints/.*/last\.json"), "the last weights"),
    (re.compile(r"attempts/.*\.json"), "an attempt's marker"),
    (re.compile(r"(trials|evaluations)/.*/whole\.\d+\.parquet"), "a compacted table"),
    (re.compile(r"evaluations/.*\.parquet"), "evaluations"),
    (re.compile(r"trials/.*\.parquet"), "a row"),
    (re.compile(r"studies/.*\.parquet"), "a study's row"),
    (re.compile(r"drivers/.*\.json"), "a lease"),
)


def reach(point: str) -> None:
    """Stay here while an order for this point is there."""
    order = Path(os.environ[ORDERS], point)
    if not order.exists():
        return
    held = order.with_name(f"{point}.{os.getpid()}")
    try:
        order.rename(held)
    except FileNotFoundError:
        return
    deadline = time.monotonic() + HELD_AT_MOST_SECONDS
    while held.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def kind_of(place: str) -> str:
    """What an object is."""
    return next((kind for pattern, kind in KINDS if pattern.search(place)), "another object")


def plant() -> None:
    """Plant the points in each module once it is imported."""
    for module, functions in DONE_BY.items():
        wrapt.register_post_import_hook(functools.partial(_surround, functions), module)
    wrapt.register_post_import_hook(_in_folders, "trainer.data.store")
    wrapt.register_post_import_hook(_in_buckets, "cluster.stores.bucket")
    for module, name in OF_THE_DAY.items():
        wrapt.register_post_import_hook(functools.partial(_clock_that_jumps, name), module)
    if HURRIED in os.environ:
        wrapt.register_post_import_hook(_hurry_lease, "cluster.summary.driver.lease")
        wrapt.register_post_import_hook(_hurry_calls, "cluster.stores.calls")


def _surround(functions: dict[str, str], module: Any) -> None:
    for path, what in functions.items():
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, module)
        setattr(owner, name, _surrounded(getattr(owner, name), what))


def _surrounded(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*arguments: Any, **named: Any) -> Any:
            reach(f"before {what}")
            result = await function(*arguments, **named)
            reach(f"after {what}")
            return result

        return later

    @functools.wraps(function)
    def now(*arguments: Any, **named: Any) -> Any:
        reach(f"before {what}")
        result = function(*arguments, **named)
        reach(f"after {what}")
        return result

    return now


def _in_folders(module: Any) -> None:
    publish, delete = module.Folder._publish, module.Folder.delete

    def published(self: Any, name: str, content: bytes, place: Callable[[Path, Path], None]) -> None:
        kind = kind_of(f"{self.uri}/{name}")

        def placed(temporary: Path, path: Path) -> None:
            reach(f"inside {kind}")
            place(temporary, path)

        reach(f"before {kind}")
        publish(self, name, content, placed)
        reach(f"after {kind}")

    def deleted(self: Any, name: str) -> None:
        delete(self, name)
        reach(f"after deleting {kind_of(f'{self.uri}/{name}')}")

    module.Folder._publish, module.Folder.delete = published, deleted


def _in_buckets(module: Any) -> None:
    def surrounded(call: Callable[..., Any], verb: str) -> Callable[..., Any]:
        def around(self: Any, name: str, *content: bytes) -> Any:
            kind = verb + kind_of(f"{self.uri}/{name}")
            reach(f"before {kind}")
            result = call(self, name, *content)
            reach(f"after {kind}")
            return result

        return around

    for name, verb in (("write", ""), ("create", ""), ("delete", "deleting ")):
        setattr(module.Bucket, name, surrounded(getattr(module.Bucket, name), verb))


def _jumped_seconds() -> float:
    try:
        return float(Path(os.environ[ORDERS], CLOCK).read_text() or 0)
    except FileNotFoundError:
        return 0.0


class _Jumping(datetime):
    """The time of day that jumps."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Now, as that clock has it."""
        return datetime.now(tz) + timedelta(seconds=_jumped_seconds())


def _clock_that_jumps(name: str, module: Any) -> None:
    if name == "datetime":
        module.datetime = _Jumping
        return
    real = module.time
    fake = types.ModuleType("time")
    fake.__dict__.update(real.__dict__)
    fake.time = lambda: real.time() + _jumped_seconds()  # type: ignore[attr-defined]
    module.time = fake


def _hurry_lease(module: Any) -> None:
    module.SECONDS_BETWEEN_RENEWALS, module.SECONDS_TO_WATCH, module.SECONDS_WITHOUT_RENEWAL = 1.0, 20.0, 15.0


def _hurry_calls(module: Any) -> None:
    module.PATIENCE_SECONDS, module.LONGEST_PAUSE_SECONDS = 4.0, 1.0
    wrapt.register_post_import_hook(_hurry_bucket, "cluster.stores.bucket")


def _hurry_bucket(module: Any) -> None:
    # As in the product, a little longer than a lease is held.
    module.SECONDS, module.FETCH_SECONDS = 17.0, 19.0

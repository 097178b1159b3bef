"""`batchscope.Study`: a study from its YAML file to its results."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from . import cell
from .summary import Summary

if TYPE_CHECKING:
    from cluster.drive.events import Event
    from cluster.drive.result import RunResult
    from cluster.plan.planned import Plan
    from cluster.study.spec import StudySpec
    from cluster.study.study import Study as Examined
    from trainer.check import Proof


@dataclass(frozen=True)
class Study:
    """A study as described by its YAML file. `cluster/study/README.md` lists the keys.

    >>> study = batchscope.Study.load("study.yaml")
    >>> study.plan().expected.seconds
    >>> result = study.run(on_event=print)
    >>> study.summary.verdict(study.name)
    """

    spec: "StudySpec"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Study":
        """The study in a YAML file. Relative paths in it are relative to the current folder, not to the file.

        Raises:
            InputError: there is no such file, or it is not a study; one line for each problem, with its remedy.
        """
        from cluster.study.spec import load

        return cls(load(path))

    @property
    def name(self) -> str:
        """The name under which the study's results are kept."""
        return self.spec.study

    @property
    def summary(self) -> Summary:
        """The summary that holds the study's results."""
        return Summary(self.spec.summary)

    def plan(self, *, address: str | None = None, calibrate: bool = True) -> "Plan":
        """What the study will take, before any training: `expected`, `low`, `high` seconds, and memory by batch size.

        >>> plan = study.plan()
        >>> plan.expected.seconds, plan.usd(plan.expected)
        >>> {point.trial.global_batch: point.memory_bytes for point in plan.points}

        Args:
            address: plan for this Ray cluster (`auto`, or `host:port`) instead of this machine.
            calibrate: measure the study's own layout for half a minute, on this machine or one of the cluster's, unless
                the study was probed before; if false, an unprobed study gets a guess.

        Raises:
            InputError: the study cannot work or does not fit, with the same message as `run`.
            NotReadyError: the study's data or the cluster cannot be reached.
        """
        from cluster.plan.planned import planned

        if address is not None:
            _refuse_own_ray()
        with _calm(), _main_not_repeated():
            study = self._examined(address)
            return planned(study, calibrated=calibrate, tell=lambda share: None, address=address)

    def check(self) -> "tuple[Proof, ...]":
        """Check on one real batch, once for each dtype, that every layout computes the same update.

        >>> assert all(proof.passed for proof in study.check())

        Raises:
            InputError: the study cannot work or does not fit.
            NotReadyError: the study's data cannot be reached, or Ray does not start.
        """
        from cluster.process import ray_session
        from cluster.study.checked import checked

        _refuse_own_ray()
        with _calm():
            examined = self._examined(None)
            from cluster.lanes.check import check

            with ray_session.local(**examined.placed.ray_resources):
                return tuple(check(checked(examined.trials), data=examined.spec.data))

    def run(
        self,
        on_event: "Callable[[Event], object] | None" = None,
        *,
        address: str | None = None,
        budget: str | None = None,
    ) -> "RunResult":
        """Run the study to its end, or resume it where it stopped: finished trials are not repeated.

        In a notebook, the cell shows a table of the running trials, which updates itself. Ctrl-C, or a notebook's
        interrupt, saves and then raises KeyboardInterrupt; a second Ctrl-C stops at once. Python delivers Ctrl-C only
        to the main thread.

        Args:
            on_event: called with each event of the run (`cluster.drive.events`), in the thread of this call.
            address: join this Ray cluster (`auto`, or `host:port`) instead of starting Ray here.
            budget: save and end when this run has spent it: `50usd`, `3h` or `90min`.

        Raises:
            InputError: the study cannot work, or its results cannot be written.
            NotReadyError: Ray, the cluster or a store is not ready, or fails during the run; what is written is kept.
        """
        _refuse_own_ray()
        from cluster.drive.run import run
        from cluster.prices import parse_budget

        spending = parse_budget(budget) if budget is not None else None
        with _calm() as shown, cell.watched(cell.display_of_kernel()) as watch:
            hear = shown(on_event)

            def both(event: "Event") -> None:
                watch(event)
                hear(event)

            return run(self._examined(address), both, address=address, spending=spending)

    def _examined(self, address: str | None) -> "Examined":
        from cluster.study.capacity import capacity_of
        from cluster.study.preflight import examine

        return examine(self.spec, capacity_of(address, with_gpus=self.spec.resources.gpus_per_worker > 0))


@contextlib.contextmanager
def _calm() -> "Iterator[Callable[[Callable[[Event], object] | None], Callable[[Event], None]]]":
    """Work inside another program: signals are handled meanwhile, and the machine's own addresses bypass proxies.

    Yields a function that makes a listener print where the program does, because Ray's stdout leads nowhere.
    """
    from cluster.process import proxies, signals

    proxies.go_direct()
    out = sys.stdout

    def shown(listener: "Callable[[Event], object] | None") -> "Callable[[Event], None]":
        def hear(event: "Event") -> None:
            if listener is not None:
                with contextlib.redirect_stdout(out):
                    listener(event)

        return hear

    with signals.heeded():
        yield shown


@contextlib.contextmanager
def _main_not_repeated() -> Iterator[None]:
    """Keep processes spawned inside from running the program's own file again, as `multiprocessing` would."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _refuse_own_ray() -> None:
    """Refuse if the program has started Ray itself, because ending our Ray would end that one too."""
    from trainer.errors import NotReadyError

    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise NotReadyError(
            "this program is already connected to Ray, and can be connected only once: call ray.shutdown() first, and "
            "name the cluster with address"
        )

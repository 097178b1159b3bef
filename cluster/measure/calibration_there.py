"""The calibration on a machine of a cluster, as one task of its Ray, for which the autoscaler brings a machine.

The task asks for the resources of one lane and measures what the machine holds, as if nothing else ran there.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cluster.measure.calibration import Calibration, calibration
from cluster.measure.processes import FailedError
from cluster.prices import this_instance
from cluster.process import ray_session
from trainer.errors import InputError
from trainer.report import State

if TYPE_CHECKING:
    from cluster.study.study import Study

# A machine that is started for it boots and installs first.
SECONDS_FOR_A_MACHINE = 30 * 60.0


def calibration_there(study: "Study", address: str) -> Calibration:
    """Calibrate the study on a machine of the Ray cluster at `address` (`auto`, or `host:port` of its head).

    Raises:
        FailedError: a worker failed, or no machine was there in SECONDS_FOR_A_MACHINE.
        InputError: the model cannot be built, or the data are no longer those of the study.
        NotReadyError: no cluster answers there.
    """
    resources, workers = study.spec.resources, max(study.workers.values())
    with ray_session.joined(address):
        import ray

        task: Any = ray.remote(
            num_cpus=workers * resources.cpus_per_worker, num_gpus=workers * resources.gpus_per_worker
        )
        found: Any
        try:
            found = ray.get(task(_calibrated).remote(study), timeout=SECONDS_FOR_A_MACHINE)
        except ray.exceptions.GetTimeoutError:
            found = f"no machine was free for it within {SECONDS_FOR_A_MACHINE / 60:g} minutes"
        except ray.exceptions.RayError as problem:
            found = str(problem).strip().splitlines()[-1]
    if isinstance(found, InputError):
        raise found
    if not isinstance(found, Calibration):
        raise FailedError(State.FAILED, found)
    return found


def _calibrated(study: "Study") -> Calibration | InputError | str:
    """The calibration of the machine where this runs, or why there is none; Ray would wrap an exception in its own."""
    try:
        found = calibration(study, lambda share: None)
        return replace(found, instance_type=this_instance().instance_type)
    except InputError as problem:
        return problem
    except FailedError as problem:
        return problem.error

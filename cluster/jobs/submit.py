"""A study handed to a cluster: once, however often it is asked for."""

import os
from dataclasses import dataclass

from cluster.jobs.address import Address
from cluster.jobs.head import Head
from cluster.jobs.job import Job, newest, next_id
from cluster.study import identity
from cluster.study.spec import StudySpec
from trainer.errors import InputError, NotReadyError


@dataclass(frozen=True)
class Submitted:
    """The job that runs the study now, and whether it did so before."""

    job: Job
    before: bool


def on_cluster(spec: StudySpec, address: Address) -> StudySpec:
    """The spec with data and summary as the cluster finds them: relative folders are made absolute on loopback.

    Raises:
        InputError: a folder is relative to this machine, and the cluster is another.
    """
    places = {key: getattr(spec, key) for key in ("data", "summary") if "://" not in getattr(spec, key)}
    for key, place in places.items():
        if not address.loopback and not os.path.isabs(place):
            raise InputError(
                f"{key} {place} is a folder of this machine, which the cluster at {address.url} does not see: "
                "give an s3:// address, or the absolute path of a folder that all its machines share"
            )
    absolute = {key: os.path.abspath(os.path.expanduser(place)) for key, place in places.items()}
    return spec.model_copy(update=absolute)


def submit(head: Head, spec: StudySpec, *, budget: str | None = None) -> Submitted:
    """Hand the study to the cluster, or find it at work there.

    A study that ended is handed over again, as another job: what is finished is not repeated.

    Raises:
        InputError: another spec runs under this name, or a folder is not one of the cluster.
        NotReadyError: the cluster cannot be reached.
    """
    spec = on_cluster(spec, head.address)
    jobs = head.jobs()
    running = _running(jobs, spec)
    if running is not None:
        return Submitted(running, before=True)
    job_id = next_id(spec, jobs)
    if head.submit(spec, job_id=job_id, budget=budget):
        return Submitted(head.job(job_id), before=False)
    running = _running(head.jobs(), spec)
    if running is None:
        raise NotReadyError(f"job {job_id} came and went while it was submitted: submit it again")
    return Submitted(running, before=True)


def _running(jobs: list[Job], spec: StudySpec) -> Job | None:
    job = newest(jobs).get(spec.study)
    if job is None or not job.active:
        return None
    if job.spec_hash != identity.spec_hash(spec):
        raise InputError(
            f"study {spec.study!r} runs with another spec as job {job.id}: give this one another name, or stop that "
            f"one first with `batchscope stop {spec.study}`"
        )
    return job

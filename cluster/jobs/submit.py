"""Submitting a study to a cluster: it runs there once, however often it is submitted."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cluster.jobs import package
from cluster.jobs.address import Address
from cluster.jobs.head import Head
from cluster.jobs.job import Job, metadata, newest, next_id
from cluster.study import identity
from cluster.study.factory_code import sha256_of
from cluster.study.spec import StudySpec
from trainer.errors import InputError, NotReadyError


@dataclass(frozen=True)
class Submitted:
    """The job that runs the study now, and whether it was already running before."""

    job: Job
    before: bool


def on_cluster(spec: StudySpec, address: Address) -> StudySpec:
    """The spec with data and summary as the cluster finds them: on loopback, relative folders become absolute.

    Raises:
        InputError: a folder is given relative to this machine, and the cluster is elsewhere.
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


def submit(
    head: Head, spec: StudySpec, *, budget: str | None = None, code: Mapping[str, Path] = MappingProxyType({})
) -> Submitted:
    """Submit the study to the cluster with the files of its model, or find the job that already runs it.

    A study that ended is submitted again as another job: finished trials are not repeated.

    Raises:
        InputError: another spec runs under this name, or the cluster cannot see a folder.
        NotReadyError: the cluster cannot be reached.
    """
    spec = on_cluster(spec, head.address)
    jobs = head.jobs()
    running = _running(jobs, spec)
    if running is not None:
        return Submitted(running, before=True)
    kept = metadata(spec, sha256_of(code))
    job_id = next_id(kept, jobs)
    command = package.command("run", progress="json", budget=budget)
    if head.submit(spec, job_id=job_id, command=command, metadata=kept, code=code):
        return Submitted(head.job(job_id), before=False)
    running = _running(head.jobs(), spec)
    if running is None:
        raise NotReadyError(f"somebody else submitted job {job_id}, and it has already ended: submit the study again")
    return Submitted(running, before=True)


def _running(jobs: list[Job], spec: StudySpec) -> Job | None:
    job = newest(jobs).get(spec.study)
    if job is None or not job.active:
        return None
    if job.spec_hash != identity.run_hash(spec):
        raise InputError(
            f"study {spec.study!r} runs with another spec as job {job.id}: give this study another name, or stop that "
            f"job first with `batchscope stop {spec.study}`"
        )
    return job

"""A job of a cluster that runs a study: its id, its states, and the newest job of each study."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cluster.study import identity
from cluster.study.spec import StudySpec
from trainer.errors import InputError, nearest

# Ray's words (ray.job_submission.JobStatus).
ACTIVE = ("PENDING", "RUNNING")
STOPPED = "STOPPED"
FAILED = "FAILED"
SUCCEEDED = "SUCCEEDED"

_STUDY, _HASH, _SPEC = "batchscope_study", "batchscope_spec_hash", "batchscope_spec"
_CODE = "batchscope_factory_sha256"
# Ray passes the metadata to the driver in one environment variable, for which Linux allows 128 KiB (MAX_ARG_STRLEN);
# escaped quotes make the text longer there.
_SPEC_CHARACTERS_AT_MOST = 32_000
_SIGTERM_EXIT = 143


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that was submitted for a study; `spec_json` is None if the spec was too long to keep with the job."""

    id: str
    study: str
    spec_hash: str
    spec_json: str | None
    state: str
    submitted_at: datetime
    ended_at: datetime | None
    driver_exit_code: int | None
    message: str

    @property
    def active(self) -> bool:
        """Whether it is waiting or running."""
        return self.state in ACTIVE

    @property
    def number(self) -> int:
        """This job's number within its study, counted from 1."""
        return int(self.id.rpartition("-")[2])

    @property
    def seconds(self) -> float:
        """The seconds from its submission to its end, or to now."""
        end = self.ended_at.timestamp() if self.ended_at else time.time()
        return max(0.0, end - self.submitted_at.timestamp())

    @property
    def exit_code(self) -> int | None:
        """The exit code of the study's driver, as a shell reports it; None before its end, or if it never began.

        Ray keeps no exit code for a job that was stopped; its driver received SIGTERM.
        """
        if self.state == STOPPED:
            return _SIGTERM_EXIT
        code = self.driver_exit_code
        return code if code is None or code >= 0 else 128 - code


def of_details(details: Any) -> Job | None:
    """The job in Ray's `JobDetails`; None if it runs no study."""
    metadata = details.metadata or {}
    if not re.fullmatch(r"batchscope-.+-\d+", details.submission_id or "") or _STUDY not in metadata:
        return None
    return Job(
        id=details.submission_id,
        study=metadata[_STUDY],
        spec_hash=metadata.get(_HASH, ""),
        spec_json=metadata.get(_SPEC),
        state=details.status.value,
        submitted_at=_moment(details.start_time or 0),
        ended_at=_moment(details.end_time) if details.end_time else None,
        driver_exit_code=details.driver_exit_code,
        message=details.message or "",
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def metadata(spec: StudySpec, factory_sha256: str | None) -> dict[str, str]:
    """The metadata of a job: enough to find its study again, and to run it again beside the code of its model."""
    kept = {_STUDY: spec.study, _HASH: identity.run_hash(spec)}
    if factory_sha256 is not None:
        kept[_CODE] = factory_sha256
    text = identity.canonical_json(spec)
    return {**kept, _SPEC: text} if len(text) <= _SPEC_CHARACTERS_AT_MOST else kept


def plan_of(spec: StudySpec) -> dict[str, str]:
    """The metadata of a job that plans a study. In place of a study's name it has one that no study can have."""
    return {_STUDY: f"plan of {spec.study}", _HASH: identity.run_hash(spec)}


def next_id(metadata: Mapping[str, str], jobs: Iterable[Job]) -> str:
    """The next id of jobs with this metadata. Ray takes no id twice, so two who submit at once start only one job."""
    study, spec_hash = metadata[_STUDY], metadata[_HASH]
    number = 1 + max((job.number for job in jobs if job.study == study), default=0)
    return f"batchscope-{study.replace(' ', '-')}-{spec_hash[:8]}-{number}"


def newest(jobs: Iterable[Job]) -> dict[str, Job]:
    """The newest job of each study, the newest first."""
    found: dict[str, Job] = {}
    for job in newest_first(jobs):
        found.setdefault(job.study, job)
    return found


def newest_first(jobs: Iterable[Job]) -> list[Job]:
    """The jobs, the newest first."""
    return sorted(jobs, key=lambda job: (job.submitted_at, job.number), reverse=True)


def find(jobs: Sequence[Job], name: str) -> Job:
    """The newest job of the study `name`, or the job of that id.

    Raises:
        InputError: there is no such job.
    """
    by_study = newest(jobs)
    by_id = {job.id: job for job in jobs}
    job = by_study.get(name) or by_id.get(name)
    if job is None:
        remedy = "`batchscope list` shows all jobs" if jobs else "nothing was submitted to it yet"
        raise InputError(f"this cluster has no job of a study {name!r}{nearest(name, list(by_study))}: {remedy}")
    return job

"""A plan made where the study would run: a job plans it on the cluster, and its log has the plan."""

from collections.abc import Mapping
from pathlib import Path

from cluster.jobs import package
from cluster.jobs.head import Head
from cluster.jobs.job import Job, next_id, plan_of
from cluster.study.spec import StudySpec
from trainer.errors import NotReadyError

# How a plan begins, as text and as JSON.
BEGINS = {"table": "plan of study ", "json": "{\n"}


def hand_over(head: Head, spec: StudySpec, *flags: str, form: str, code: Mapping[str, Path]) -> Job:
    """Submit a job that plans the study there, with the command's `flags`, in the form `table` or `json`.

    Raises:
        NotReadyError: the cluster cannot be reached, or somebody else submitted the same at this moment.
    """
    kept = plan_of(spec)
    job_id = next_id(kept, head.jobs())
    command = package.command("plan", *flags, format=form)
    if not head.submit(spec, job_id=job_id, command=command, metadata=kept, code=code):
        raise NotReadyError(f"somebody else submitted job {job_id} at this moment: run the same command again")
    return head.job(job_id)


def split(log: str, form: str) -> tuple[str, str]:
    """What a job said before its plan, and the plan, which is empty if it made none."""
    at = log.rfind("\n" + BEGINS[form])
    if at < 0 and not log.startswith(BEGINS[form]):
        return log, ""
    return log[: at + 1], log[at + 1 :]

"""Following a job's log to its end, through lost connections.

The whole log is fetched again and again, because Ray's `tail_job_logs` is a WebSocket without a heartbeat, which stays
silent for ever after a laptop slept or a tunnel broke. A study writes a line every 15 s, some 25 kB an hour. The longer
the log, the less often it is fetched, so that a follower costs at most about 20 kB/s.
"""

import time
from collections.abc import Callable

from cluster.jobs.head import STOP_SECONDS, Head, UnreachableError
from cluster.jobs.job import FAILED, Job
from trainer.errors import NotReadyError

BYTES_PER_SECOND = 20_000
LONGEST_PAUSE_SECONDS = 30.0
# A head that was away for this long does not come back with its jobs.
LOST_SECONDS = 600.0


def follow(
    head: Head, job_id: str, *, show: Callable[[str], None], say: Callable[[str], None], pause: float = 1.0
) -> Job:
    """Pass the job's log to `show` as it grows, until the job ends; return the job at its end.

    Args:
        head: The cluster.
        job_id: The job.
        show: Takes the next piece of the log.
        say: Takes a line about the connection.
        pause: The shortest time between two requests, in seconds.

    Raises:
        NotReadyError: there has been no connection for 10 minutes, or the token is no longer accepted.
    """
    shown = 0
    lost_at: float | None = None
    wait = pause
    while True:
        try:
            # In this order, so that the log of a job that is over is complete.
            job = head.job(job_id)
            log = head.log(job_id)
        except UnreachableError as problem:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > LOST_SECONDS:
                raise
            wait = min(LONGEST_PAUSE_SECONDS, wait * 2)
            say(f"connection lost, trying again in {wait:g} s; the study keeps running ({problem})")
        else:
            if lost_at is not None:
                say("connected again")
            lost_at = None
            if log[shown:]:
                show(log[shown:])
            shown = max(shown, len(log))
            if not job.active:
                return job
            wait = min(LONGEST_PAUSE_SECONDS, max(pause, len(log) / BYTES_PER_SECOND))
        time.sleep(wait)


def exit_code(job: Job) -> int:
    """The exit code that the study's own command would have had.

    Raises:
        NotReadyError: the job's driver never began, or was lost with its machine.
    """
    code = job.exit_code
    if code is not None:
        return code
    if job.state == FAILED:
        reason = next((line for line in reversed(job.message.splitlines()) if line.strip()), "for an unknown reason")
        raise NotReadyError(f"job {job.id} failed without an exit code ({reason.strip()[:300]}): submit it again")
    return 0


def stop(head: Head, job: Job, *, pause: float = 0.5) -> Job:
    """Ask a job to stop, wait until it has, and return it as it is then.

    Raises:
        NotReadyError: it has not ended by the time when Ray should have killed it.
    """
    head.stop(job.id)
    deadline = time.monotonic() + STOP_SECONDS + 30
    while (job := head.job(job.id)).active:
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"job {job.id} has not stopped after {STOP_SECONDS + 30} s: see `batchscope logs {job.study}`"
            )
        time.sleep(pause)
    return job

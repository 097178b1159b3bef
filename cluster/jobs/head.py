"""The head of a cluster, through its Jobs API: every call has a deadline, and every failure is one sentence."""

import contextlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cluster.jobs import package
from cluster.jobs.address import Address
from cluster.jobs.job import Job, of_details
from cluster.process import proxies
from cluster.process.deadline import within
from cluster.study.spec import StudySpec
from trainer.errors import NotReadyError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

CALL_SECONDS = 10.0
LOG_SECONDS = 60.0
UPLOAD_SECONDS = 120.0
SECONDS_BETWEEN_TRIES = 2.0
# How long a stopped driver may take to save what its workers have; Ray itself gives it 3 s and then SIGKILL.
STOP_SECONDS = 120
# Variables that Ray's client prefers to its own argument as its address (get_address_for_submission_client).
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")

Answer = TypeVar("Answer")


class UnreachableError(NotReadyError):
    """The head did not answer, or did not answer like a Jobs API; another try may help."""


class Head:
    """A connected Jobs API."""

    def __init__(self, address: Address, client: "JobSubmissionClient") -> None:
        self.address = address
        self._client = client

    def jobs(self) -> list[Job]:
        """Every job that runs a study, including those that ended."""
        found = _asked(self.address, self._client.list_jobs)
        return [job for details in found if (job := of_details(details)) is not None]

    def job(self, job_id: str) -> Job:
        """One job as it is now."""
        job = of_details(_asked(self.address, lambda: self._client.get_job_info(job_id)))
        assert job is not None, job_id
        return job

    def log(self, job_id: str) -> str:
        """The whole log of a job so far."""
        return _asked(self.address, lambda: self._client.get_job_logs(job_id), LOG_SECONDS)

    def stop(self, job_id: str) -> None:
        """Ask a job to end; it keeps running until it has saved."""
        _asked(self.address, lambda: self._client.stop_job(job_id))

    def submit(
        self, spec: StudySpec, *, job_id: str, command: str, metadata: Mapping[str, str], code: Mapping[str, Path]
    ) -> bool:
        """Submit a shell command on a study, with the files of its model, under a new id; False if the id is taken.

        The driver asks for no resources: only then does Ray put it on the head node, by the node's id, whatever CPUs
        and custom resources that has (JobManager._get_label_selector in Ray 2.60), and never on a spot machine.
        """
        with tempfile.TemporaryDirectory(prefix="batchscope-job-") as folder:
            package.fill(Path(folder), spec, code)
            runtime_env = {
                "working_dir": folder,
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), "RAY_USAGE_STATS_ENABLED": "0"},
            }

            def hand_over() -> str:
                return self._client.submit_job(
                    entrypoint=command,
                    submission_id=job_id,
                    metadata=dict(metadata),
                    runtime_env=runtime_env,
                )

            deadline = time.monotonic() + UPLOAD_SECONDS
            while True:
                try:
                    _asked(self.address, hand_over, UPLOAD_SECONDS)
                except UnreachableError as problem:
                    if "already exists" in str(problem):
                        return False
                    # A head answers some seconds before its agent, which starts jobs, is ready.
                    if "No available agent" not in str(problem) or time.monotonic() > deadline:
                        raise
                    time.sleep(SECONDS_BETWEEN_TRIES)
                else:
                    return True


def connect(address: Address, find_token: Callable[[], str | None]) -> Head:
    """The head at `address`; `find_token` is called only if the head asks for a token.

    Raises:
        NotReadyError: the head does not answer within 10 s, does not accept the token, or asks for none.
    """
    try:
        return within(CALL_SECONDS, lambda: _connect(address, find_token))
    except TimeoutError as late:
        raise _unreachable(address, str(late)) from None


def _connect(address: Address, find_token: Callable[[], str | None]) -> Head:
    if address.loopback:
        # Ray's client uses functions of `requests` that take their proxies from the environment alone.
        proxies.go_direct([address.host])
    headers = {}
    if require_token(address):
        token = find_token()
        if token is None:
            raise NotReadyError(
                f"{address.url} asks for a token: give the file that holds it with --token-file, or set "
                "RAY_AUTH_TOKEN_PATH"
            )
        headers = {"Authorization": f"Bearer {token}"}
    from ray.job_submission import JobSubmissionClient

    # What Ray's client logs about packages and versions does not help the person who submits a study.
    for handler in logging.getLogger("ray").handlers:
        handler.setLevel(logging.ERROR)
    with _no_other_address():
        client = _translated(address, lambda: JobSubmissionClient(address.url, headers=headers))
    return Head(address, client)


def require_token(address: Address) -> bool:
    """Whether the head asks for a token, as every head must that is not on loopback.

    Anyone who reaches a Jobs API that asks for no token can run any program there (CVE-2023-48022; disputed by Ray,
    whose answer since 2.52 is RAY_AUTH_MODE=token), so nothing is submitted to such a head.

    Raises:
        NotReadyError: the head answers without a token and is not on loopback.
        UnreachableError: it does not answer, or is not a Jobs API.
    """
    import requests

    with requests.Session() as session:
        session.trust_env = not address.loopback
        # Otherwise credentials in ~/.netrc could let us in unnoticed.
        session.auth = lambda request: request
        try:
            answer = session.get(
                f"{address.url}/api/version", timeout=CALL_SECONDS / 2, allow_redirects=False, stream=True
            )
        except (requests.RequestException, ValueError) as problem:
            raise _unreachable(address, _reason(problem)) from None
    if answer.status_code in (401, 403):
        return True
    if answer.status_code != 200:
        raise _unreachable(address, f"HTTP status {answer.status_code} for /api/version")
    if not address.loopback:
        raise NotReadyError(
            f"{address.url} lets anyone who reaches it run any program (CVE-2023-48022): start that cluster with "
            "RAY_AUTH_MODE=token and a token, or reach it through a tunnel to a port of this machine"
        )
    return False


def _asked(address: Address, call: Callable[[], Answer], seconds: float = CALL_SECONDS) -> Answer:
    """The answer to one call of Ray's client, within the deadline."""
    try:
        return within(seconds, lambda: _translated(address, call))
    except TimeoutError as late:
        raise _unreachable(address, str(late)) from None


def _translated(address: Address, call: Callable[[], Answer]) -> Answer:
    """What Ray's client returns, or its failure as an error of ours; it raises RuntimeErrors with an HTTP status."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        return call()
    except AuthenticationError:
        raise NotReadyError(
            f"{address.url} does not accept this token: give the file that holds the cluster's with --token-file"
        ) from None
    except (requests.RequestException, ConnectionError, RuntimeError, ValueError) as problem:
        raise _unreachable(address, _reason(problem)) from None


def _unreachable(address: Address, reason: str) -> UnreachableError:
    return UnreachableError(
        f"the Ray Jobs API at {address.url} cannot be used ({reason}): is the head up, and the tunnel to its "
        "dashboard open?"
    )


def _reason(problem: BaseException) -> str:
    """An error in brief: the system's own words, or the last line, since a head sends its whole traceback."""
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(problem))
    if system:
        return system[1]
    lines = [line.strip(" '\".") for line in str(problem).splitlines()]
    return next((line for line in reversed(lines) if line), type(problem).__name__)[-300:]


@contextlib.contextmanager
def _no_other_address() -> Iterator[None]:
    """Hide the variables from Ray's client, so that it takes the address that it is given."""
    hidden = {name: os.environ.pop(name) for name in _ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)

"""What a machine can find out: whether the head answers, whether a study runs, whether EC2 takes the machine back.

Every request has a deadline for the whole call, and a missing answer counts as no.
"""

import json
import socket
import time
import urllib.error
import urllib.request
from calendar import timegm

SECONDS = 5.0
LONGEST_ANSWER_BYTES = 50_000_000
METADATA = "http://169.254.169.254"
# The states of a Ray job that is not over: ray.job_submission.JobStatus.
LIVE = ("PENDING", "RUNNING")
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def head_answers(address: str) -> bool:
    """Whether something accepts connections at `host:port` (Ray's GCS)."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=SECONDS):
            return True
    except (OSError, ValueError):
        return False


def study_lives(dashboard: str, token: str) -> bool:
    """Whether a job is waiting or running, according to Ray's dashboard at `dashboard`."""
    try:
        jobs = json.loads(_get(f"{dashboard}/api/jobs/", {"Authorization": f"Bearer {token}"}))
        return any(isinstance(job, dict) and job.get("status") in LIVE for job in jobs)
    except (OSError, ValueError, TypeError):
        return False


def interruption(metadata: str = METADATA) -> float | None:
    """The Unix time at which EC2 takes this spot machine back, or None. The notice comes two minutes before (IMDSv2).

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    """
    try:
        notice = json.loads(_told(metadata, "spot/instance-action") or b"")
        return float(timegm(time.strptime(notice["time"], "%Y-%m-%dT%H:%M:%SZ")))
    except (ValueError, TypeError, KeyError):
        return None


def instance_id(metadata: str = METADATA) -> str | None:
    """This machine's id, or None."""
    found = _told(metadata, "instance-id")
    return None if found is None else found.decode()


def _told(metadata: str, name: str) -> bytes | None:
    """What the metadata service says; None for a 404, which is how it says that there is no notice, or no answer."""
    try:
        ask = urllib.request.Request(
            f"{metadata}/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        with _opener.open(ask, timeout=SECONDS) as answer:
            token = answer.read(1000).decode()
        return _get(f"{metadata}/latest/meta-data/{name}", {"X-aws-ec2-metadata-token": token})
    except (OSError, ValueError):
        return None


def _get(url: str, headers: dict[str, str]) -> bytes:
    """The body at `url`; reading takes at most SECONDS between two pieces, and twice that in all."""
    ends = time.monotonic() + 2 * SECONDS
    body = b""
    with _opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS) as answer:
        while piece := answer.read1(65536):
            body += piece
            if time.monotonic() > ends or len(body) > LONGEST_ANSWER_BYTES:
                raise OSError("the answer does not end")
    return body

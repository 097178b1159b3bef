"""Which machine this is, by EC2's instance metadata service (version 2, with a token)."""

import http.client
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from cluster.process.deadline import within

DEADLINE_SECONDS = 2.0
_ENDPOINT = "http://169.254.169.254"
_TOKEN_SECONDS = "60"
_LONGEST_ANSWER_BYTES = 256
# As the fleet's node provider calls it (`cluster.fleet.node.offers`), which runs where this package is not installed.
TAG_REFUSED = "batchscope-refused"


@dataclass(frozen=True)
class Instance:
    """A machine: `g5.xlarge`, `spot` or `on-demand`, `eu-west-1`; outside EC2, `local`, `local` and no region.

    `refused` is what EC2 refused before it gave a fleet this machine; empty if it refused nothing.
    """

    instance_type: str
    market: str
    region: str
    refused: str = ""


LOCAL = Instance("local", "local", "")


def this_instance() -> Instance:
    """The machine that runs this process; `LOCAL` if it is not on EC2 or must not be asked.

    As for boto3, AWS_EC2_METADATA_DISABLED=true means not to ask, and AWS_EC2_METADATA_SERVICE_ENDPOINT is the endpoint
    to ask. This takes at most `DEADLINE_SECONDS`, once per process. In a container with its own network, the hop limit
    of 1 keeps the token away, and the machine counts as local.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return LOCAL
    return _instance_at(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _ENDPOINT)


@lru_cache(maxsize=8)
def _instance_at(endpoint: str) -> Instance:
    try:
        return within(DEADLINE_SECONDS, lambda: _asked(endpoint))
    except (OSError, http.client.HTTPException, ValueError):
        return LOCAL


def _asked(endpoint: str) -> Instance:
    """The instance according to the service at `endpoint`.

    Raises:
        OSError, http.client.HTTPException, ValueError: no service is there, or it is not EC2's.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{endpoint} is not an http:// address")
    # http.client follows neither proxies nor redirects, so the request stays on this machine.
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE_SECONDS)
    try:
        root = parts.path.rstrip("/") + "/latest"
        token = _answer(
            connection, "PUT", f"{root}/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_SECONDS}
        )
        headers = {"X-aws-ec2-metadata-token": token}
        told = {
            name: _answer(connection, "GET", f"{root}/meta-data/{name}", headers)
            for name in ("instance-type", "instance-life-cycle", "placement/region")
        }
        refused = _tag(connection, f"{root}/meta-data/tags/instance/{TAG_REFUSED}", headers)
    finally:
        connection.close()
    return Instance(
        _expected(r"[a-z0-9-]+\.[a-z0-9-]+", told["instance-type"]),
        _expected(r"[a-z-]+", told["instance-life-cycle"]),
        _expected(r"[a-z]{2,}(-[a-z]+)+-[0-9]+", told["placement/region"]),
        refused,
    )


def _tag(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> str:
    """The value of a tag of this machine; empty if it has none, or does not show its tags."""
    try:
        return _expected(r"[ -~]*", _answer(connection, "GET", path, headers))
    except ValueError:
        return ""


def _answer(connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]) -> str:
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read(_LONGEST_ANSWER_BYTES)
    if response.status != 200:
        raise ValueError(f"{path} answers {response.status}")
    return body.decode("ascii").strip()


def _expected(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{text!r} is not what EC2 returns")
    return text

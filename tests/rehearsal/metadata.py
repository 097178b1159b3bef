"""The metadata service of a pretend machine, as IMDSv2: identity, credentials, and the notices of a spot machine.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.rehearsal.doors import KEY

PORT = 80
ADDRESS = "169.254.169.254"
_TOKEN = "pretend-metadata-token"
_ROLE = "pretend-role"


def serve(identity: dict[str, Any], control: Path) -> None:
    """Answer on this machine's link-local address from now on.

    `control` is the folder through which the region speaks to the machine: `notice.json` is a spot notice,
    `rebalance.json` the advice that comes before some of them, `tags.json` has the machine's tags, and `credentials`
    the seconds for which credentials are good.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            self._answer(_TOKEN if self.path == "/latest/api/token" and asked else None)

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != _TOKEN:
                self._answer(None, 401)
            else:
                self._answer(_answer(self.path.rstrip("/"), identity, control))

        def _answer(self, text: str | None, status: int = 404) -> None:
            body = (text or "").encode()
            self.send_response(status if text is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((ADDRESS, PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _answer(path: str, identity: dict[str, Any], control: Path) -> str | None:
    """The answer to a path; None for 404."""
    credentials = "/latest/meta-data/iam/security-credentials"
    texts = {
        "/latest/meta-data/instance-id": identity["instanceId"],
        "/latest/meta-data/instance-type": identity["instanceType"],
        "/latest/meta-data/instance-life-cycle": identity["lifeCycle"],
        "/latest/meta-data/local-ipv4": identity["privateIp"],
        "/latest/meta-data/placement/availability-zone": identity["availabilityZone"],
        "/latest/meta-data/placement/region": identity["region"],
        "/latest/dynamic/instance-identity/document": json.dumps(identity),
        credentials: _ROLE,
    }
    if path == f"{credentials}/{_ROLE}":
        return _credentials(control)
    tags = "/latest/meta-data/tags/instance/"
    if path.startswith(tags):
        found: str | None = json.loads((control / "tags.json").read_text()).get(path.removeprefix(tags))
        return found
    notices = {
        "/latest/meta-data/spot/instance-action": "notice.json",
        "/latest/meta-data/events/recommendations/rebalance": "rebalance.json",
    }
    if path in notices:
        notice = control / notices[path]
        return notice.read_text() if notice.exists() else None
    return texts.get(path)


def _credentials(control: Path) -> str:
    """Credentials that are replaced when half of their time is over, as AWS replaces them before they end."""
    half = float((control / "credentials").read_text()) / 2
    until = (time.time() // half + 2) * half
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": f"{KEY}{until:.0f}",
            "SecretAccessKey": "pretend",
            "Token": "pretend",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until)),
        }
    )

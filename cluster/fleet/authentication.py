"""Proof that a Ray head refuses requests without its token; otherwise it would run anyone's code (CVE-2023-48022).

`ray start --head` of Ray 2.60 is open unless its environment says otherwise, so one typing error there is enough.
"""

import http.client
import urllib.error
import urllib.request

from cluster.process.deadline import within
from trainer.errors import NotReadyError

SECONDS = 10.0
_PATH = "/api/version"


def require_authentication(address: str) -> None:
    """Send the head at `address` (http://host:port) a request without a token; only a 401 is good.

    Raises:
        NotReadyError: the head answered something else, or nothing within SECONDS.
    """
    try:
        status = within(SECONDS, lambda: _status(address.rstrip("/") + _PATH))
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise NotReadyError(f"the Ray head at {address} does not answer ({problem}): is the tunnel up?") from None
    if status == http.HTTPStatus.UNAUTHORIZED:
        return
    if status == http.HTTPStatus.OK:
        raise NotReadyError(
            f"the Ray head at {address} lets anyone in without a token, so it runs anyone's code: start it with "
            "RAY_AUTH_MODE=token"
        )
    raise NotReadyError(f"the Ray head at {address} answered {status} instead of 401: is it a Ray of 2.59 or later?")


def _status(url: str) -> int:
    if not url.startswith(("http://", "https://")):
        raise ValueError("give an address such as http://127.0.0.1:8265")
    # No proxy is used, since it could answer for the head, and no redirect is followed, since its answer is not the
    # head's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Refuse to follow."""

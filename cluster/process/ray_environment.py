"""The environment variables that Ray reads when it is imported; they must be set before that."""

import os
import sys

from trainer.errors import NotReadyError

# Nothing about a study leaves the machines; messages are not held back to be printed at the end; and no Ray starts by
# itself: without the fourth and the last, any call to Ray after its end starts another one, without our options.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    # Named after the systems on which it is the default. Without it, a local Ray replaces 127.0.0.1 by an outward
    # address and listens on every interface (services.resolve_ip_for_localhost in Ray 2.60).
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "TUNE_DISABLE_AUTO_INIT": "1",
}


def set_environment() -> None:
    """Set ENVIRONMENT; call this before Ray is imported."""
    forced = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ENABLE_AUTO_CONNECT", "TUNE_DISABLE_AUTO_INIT")
    for name, value in ENVIRONMENT.items():
        if name in forced:
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)


def refuse_ray_of_another_environment() -> None:
    """Refuse to go on with a Ray that the program imported before `set_environment` was called.

    Raises:
        NotReadyError: that Ray would listen on every interface of this machine.
    """
    if "ray" not in sys.modules:
        return
    from ray._private import ray_constants

    if ray_constants.ENABLE_RAY_CLUSTER:
        raise NotReadyError(
            "Ray was imported before batchscope, and would listen on every interface of this machine: import "
            "batchscope first, or set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0"
        )

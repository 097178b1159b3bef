"""Whether a new machine may join its fleet: it has the driver and the cards that it was taken for, and its switches.

It runs before `ray start`, with the machine's own Python. A machine that may not join would be paid for and never
train: it writes why into the fleet's bucket, where `batchscope fleet status` finds it, and ends itself.
"""

import json
import os
import subprocess
import sys

from cluster.fleet.node.probe import instance_id

# What the fleet's image has, and CUDA 12.5 in TensorFlow's wheels needs at least 525; older ones lack its fixes.
OLDEST_DRIVER = 560
SECONDS_FOR_A_COMMAND = 60.0
SERVICE = "batchscope-node.service"
# Ray's autoscaler tells a machine what it counts on it for (ray/_private/ray_constants.py).
RESOURCES = "RAY_OVERRIDE_RESOURCES"


def problem(resources: str, *, listed: str | None, driver: str | None, service: str | None) -> str | None:
    """Why the machine may not join; None if it may.

    `resources` is Ray's JSON; `listed` and `driver` are what `nvidia-smi` says of its cards and of its driver, and
    `service` what systemd says of the dead-man switches; each None if that failed.
    """
    if (service or "").strip() != "active":
        return f"its dead-man switches do not run: systemd calls {SERVICE} {(service or 'unknown').strip()}"
    wanted = int(json.loads(resources or "{}").get("GPU", 0))
    if not wanted:
        return None
    if listed is None or driver is None:
        return "nvidia-smi fails: the driver does not run"
    cards = sum(line.startswith("GPU ") for line in listed.splitlines())
    if cards < wanted:
        return f"nvidia-smi lists {cards} of its {wanted} cards"
    version = driver.split(".")[0].strip()
    if not version.isdigit() or int(version) < OLDEST_DRIVER:
        return f"its driver {driver.strip()} is older than {OLDEST_DRIVER}"
    return None


def main(bucket: str, region: str) -> int:
    """Return 0 if this machine may join; else tell why not, begin its end, and return 1."""
    why = problem(
        os.environ.get(RESOURCES, ""),
        listed=_said("nvidia-smi", "-L"),
        driver=_said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        service=_said("systemctl", "is-active", SERVICE),
    )
    if why is None:
        return 0
    sys.stdout.write(f"batchscope: this machine may not join: {why}\n")
    place = f"s3://{bucket}/machines/{instance_id() or 'unknown'}"
    _said("aws", "s3", "cp", "-", place, "--region", region, given=why)
    _said("sudo", "systemctl", "poweroff")
    return 1


def _said(*command: str, given: str = "") -> str | None:
    """What a command says on stdout; None if it fails."""
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=SECONDS_FOR_A_COMMAND, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

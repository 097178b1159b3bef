"""The user data of a machine: its dead-man switches as readable text, which run before anything else is set up.

It contains no secret, because anyone who may describe an instance may read its user data.
"""

import json
from pathlib import Path

import yaml

from cluster.fleet.spec import FleetSpec

# EC2's limit for user data before encoding.
MOST_BYTES = 16_384
KEPT = "/run/batchscope"
HOME = "/opt/batchscope"
GCS_PORT = 6379
DASHBOARD_PORT = 8265
SECONDS_TO_JOIN = 30 * 60
SECONDS_HEAD_LOST = 15 * 60
# The rules end a machine in order, the workers first; the system's own timer ends it even if the rules do not run.
MINUTES_AFTER_DEADLINE = 10
# How long a machine that was asked for may take to be listed.
SECONDS_OF_A_REQUEST = 3.0
CONTAINER = "batchscope"
_SOURCES = ("decide", "probe", "watch")

# It is restarted for ever, and its notes survive that. Any user may leave a note in the folder, but may not remove
# another user's.
_SERVICE = f"""[Unit]
Description=batchscope: ends this machine when nothing needs it
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 -B -m cluster.fleet.node.watch {HOME}/settings.json
WorkingDirectory={HOME}
RuntimeDirectory=batchscope
RuntimeDirectoryMode=1777
RuntimeDirectoryPreserve=yes
Restart=always
RestartSec=5
[Install]
WantedBy=multi-user.target
"""


def user_data(spec: FleetSpec, *, role: str) -> str:
    """The cloud-init text for a machine with the `role` "head" or "worker"."""
    files = {f"{HOME}/settings.json": json.dumps(_settings(spec, role), indent=1)}
    files["/etc/systemd/system/batchscope-node.service"] = _SERVICE
    for name in _SOURCES:
        source = Path(__file__).parent / "node" / f"{name}.py"
        files[f"{HOME}/cluster/fleet/node/{name}.py"] = source.read_text(encoding="utf-8")
    minutes = round(spec.deadline_hours * 60) + MINUTES_AFTER_DEADLINE
    document = {
        "write_files": [{"path": path, "content": text} for path, text in files.items()],
        "runcmd": [
            ["shutdown", "-P", f"+{minutes}"],
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "batchscope-node.service"],
        ],
    }
    text = "#cloud-config\n" + yaml.dump(document, Dumper=Readable, sort_keys=False, width=200)
    assert len(text.encode()) <= MOST_BYTES, f"the user data has {len(text.encode())} bytes: shorten cluster/fleet/node"
    return text


class Readable(yaml.SafeDumper):
    """Writes long text line by line, and uses aliases only for long text that occurs several times."""

    def ignore_aliases(self, data: object) -> bool:
        """Whether `data` is written out each time."""
        return not (isinstance(data, str) and "\n" in data)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _represent_text)


def _settings(spec: FleetSpec, role: str) -> dict[str, object]:
    return {
        "role": role,
        "kept": KEPT,
        "dashboard": f"http://127.0.0.1:{DASHBOARD_PORT}",
        "token_file": f"{KEPT}/token",
        "limits": {
            "deadline": spec.deadline_hours * 3600,
            "to_join": SECONDS_TO_JOIN,
            "head_lost": SECONDS_HEAD_LOST,
            "idle": spec.head_idle_minutes * 60,
        },
        "drain": _drain(spec),
        "end_workers": ["/bin/sh", "-c", _end_workers(spec)] if role == "head" else [],
        "power_off": ["/usr/bin/systemctl", "poweroff"],
    }


def _drain(spec: FleetSpec) -> list[str]:
    """Ray 2.60's command to drain a node, after which Train saves and moves; the spot notice alone reaches nobody."""
    ray = ["sudo", "-H", "-u", "ubuntu", "env", "RAY_AUTH_MODE=token", "/home/ubuntu/batchscope/bin/ray"]
    if spec.image:
        ray = ["docker", "exec", "-e", "RAY_AUTH_MODE=token", CONTAINER, "ray"]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "EC2 takes this spot machine back"]
    return [*ray, "drain-node", *reason]


def _end_workers(spec: FleetSpec) -> str:
    """A command that ends the workers, with the AWS CLI of the machine's image; boto3 may exist only in a container.

    Ray's autoscaler ends first: it would ask for machines in place of those that end, which would stay behind.
    """
    return (
        # The brackets keep the pattern from finding the shell that has it in its own command line.
        f"pkill -KILL -f 'ray/[a]utoscaler/.*monitor'; sleep {SECONDS_OF_A_REQUEST:g}; "
        f"aws ec2 describe-instances --region {spec.region} --output text "
        "--query 'Reservations[].Instances[].InstanceId' "
        f"--filters Name=tag:batchscope-fleet,Values={spec.fleet} Name=tag:ray-node-type,Values=worker "
        "Name=instance-state-name,Values=pending,running | tr '\\t' '\\n' | "
        f"xargs -r aws ec2 terminate-instances --region {spec.region} --instance-ids"
    )

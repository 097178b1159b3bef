"""The configuration for `ray up`: one head that computes nothing, and workers of each shape, from whichever offer."""

from typing import Any

import yaml

from cluster.fleet import userdata
from cluster.fleet.spec import FleetSpec, MachineShape, Stack
from cluster.stores.client import PAYER

TAG = "batchscope-fleet"
# The head has no CPUs, so nothing that trains is placed there; lanes ask for cluster.lanes.board.ON_HEAD.
HEAD_RESOURCES = {"CPU": 0, "head": 1000}
TOKEN_ON_NODES = "~/.ray/auth_token"
# Where the Deep Learning AMI mounts a machine's own NVMe disks, as its service dlami-nvme.
FAST_DISK = "/opt/dlami/nvme"
PROVIDER_ON_NODES = "~/batchscope-provider"
# What is installed on machines, in `locks`: for all, and with them for those with cards. `make locks` makes them.
BASE_LOCK, CUDA_LOCK = "base.lock", "cuda.lock"
_VENV = "$HOME/batchscope"
# A machine boots and installs before its workers can join their group; without this, Train would start the group again
# and again (https://github.com/ray-project/ray/issues/60376).
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(userdata.SECONDS_TO_JOIN),
    # By default botocore asks a machine's metadata service for credentials once, for a second; on a machine that boots
    # or whose lanes all ask at once, that is not enough (botocore/utils.py, `IMDSFetcher`).
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "5",
    "AWS_METADATA_SERVICE_TIMEOUT": "2",
    # A machine that does not answer three times is lost after 4 s, and another is asked for. By default Ray waits for
    # five times 13 s at most (ray/common/ray_config_def.h), in which it would also give the lost machine new work, and
    # then looks every 5 s for what to ask for.
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
# What Ray fills in for its own providers (ray/autoscaler/aws/defaults.yaml), and not for another one's.
_DEFAULTS: dict[str, Any] = {
    "docker": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
}


def render(spec: FleetSpec, stack: Stack) -> str:
    """The YAML for `ray up`; it contains no secret."""
    head = (
        f"# The fleet {spec.fleet}, written by `batchscope fleet render`; `batchscope fleet up` uses it.\n"
        f"# {spec.most_machines} workers at most, each gone after {spec.idle_minutes:g} idle minutes; everything is "
        f"gone {spec.head_idle_minutes:g} minutes\n# after the last study, or {spec.deadline_hours:g} hours after its "
        "start: cluster/fleet/node/decide.py.\n"
    )
    return head + yaml.dump(cluster(spec, stack), Dumper=userdata.Readable, sort_keys=False, width=200)


def cluster(spec: FleetSpec, stack: Stack) -> dict[str, Any]:
    """The configuration, in the form of Ray's schema (ray/autoscaler/ray-schema.json)."""
    config: dict[str, Any] = {
        "cluster_name": spec.stack,
        "max_workers": spec.most_machines,
        "idle_timeout_minutes": spec.idle_minutes,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": "cluster.fleet.node.provider.OffersProvider",
            "offers": {_name(shape): types for shape, types in by_shape(spec, stack).items()},
            "spot": spec.spot,
            "region": spec.region,
            "use_internal_ips": spec.ssh_from is None,
            # Stopped machines still cost money for their disks.
            "cache_stopped_nodes": False,
            "key_pair": {"key_name": spec.stack},
        },
        "auth": _auth(spec),
        "file_mounts": {TOKEN_ON_NODES: _here(spec, "token"), PROVIDER_ON_NODES: _here(spec, "provider")},
        "head_node_type": "head",
        "available_node_types": {"head": _head(spec, stack), **_workers(spec, stack)},
        "initialization_commands": _before_setup(spec),
        "setup_commands": [],
        "head_setup_commands": [] if spec.image else _install(spec, stack, BASE_LOCK),
        "worker_setup_commands": [] if spec.image else _install(spec, stack, BASE_LOCK, CUDA_LOCK),
        "head_start_ray_commands": [*_start_head(spec), *([] if spec.image else [_fill(spec, stack)])],
        "worker_start_ray_commands": _start_worker(spec, stack),
        **_DEFAULTS,
    }
    if spec.image:
        config["docker"] = {
            "image": spec.image,
            "container_name": userdata.CONTAINER,
            "pull_before_run": True,
            "run_options": [f"--volume {userdata.KEPT}:{userdata.KEPT}", "--ulimit nofile=65536:65536"],
        }
    return config


def _auth(spec: FleetSpec) -> dict[str, Any]:
    if spec.ssh_from:
        return {"ssh_user": "ubuntu"}
    # No port is open: ssh goes through AWS Systems Manager, which finds the machine by its instance id.
    proxy = (
        f"aws ssm start-session --region {spec.region} --target %h --document-name AWS-StartSSHSession "
        "--parameters portNumber=%p"
    )
    return {"ssh_user": "ubuntu", "ssh_proxy_command": proxy, "ssh_proxy_use_node_id": True}


def _head(spec: FleetSpec, stack: Stack) -> dict[str, Any]:
    config = _node_config(spec, stack, stack.head_profile, userdata.user_data(spec, role="head"))
    config["InstanceType"] = spec.head_type
    return {"resources": HEAD_RESOURCES, "min_workers": 0, "max_workers": 0, "node_config": config}


def by_shape(spec: FleetSpec, stack: Stack) -> dict[MachineShape, list[str]]:
    """The fleet's types by their shapes, in the order of the types, the preferred one first."""
    found: dict[MachineShape, list[str]] = {}
    for instance_type in spec.instance_types:
        found.setdefault(stack.shapes[instance_type], []).append(instance_type)
    return found


def _name(shape: MachineShape) -> str:
    return f"{shape.gpus}gpu-{shape.cpus}cpu"


def _workers(spec: FleetSpec, stack: Stack) -> dict[str, Any]:
    """A Ray node type for each shape; which offer becomes its machine is the provider's choice.

    Ray chooses among node types of different shapes by how well they fit, and by priority only where they fit alike.
    """
    found = by_shape(spec, stack)
    config = _node_config(spec, stack, stack.worker_profile, userdata.user_data(spec, role="worker"))
    return {
        _name(shape): {
            "resources": {},  # Ray finds them out from EC2, by this type
            "min_workers": 0,
            "max_workers": spec.most_machines,
            "priority": len(found) - rank,
            "node_config": {**config, "InstanceType": types[0]},
        }
        for rank, (shape, types) in enumerate(found.items())
    }


def _here(spec: FleetSpec, name: str) -> str:
    """A file in the fleet's folder of this machine, as anybody may read it."""
    return str(spec.folder / name).replace(str(spec.folder.home()), "~", 1)


def _node_config(spec: FleetSpec, stack: Stack, profile: str, data: str) -> dict[str, Any]:
    tags = [{"Key": TAG, "Value": spec.fleet}]
    disk = {"VolumeSize": spec.disk_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {
        "ImageId": stack.image_id,
        "SubnetIds": list(stack.subnets),
        "SecurityGroupIds": [stack.security_group],
        "IamInstanceProfile": {"Arn": profile},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            # By its tags a worker finds out what EC2 had refused before it gave this machine.
            "InstanceMetadataTags": "enabled",
        },
        "InstanceInitiatedShutdownBehavior": "terminate",
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        "UserData": data,
    }


def _before_setup(spec: FleetSpec) -> list[str]:
    # cloud-init sets up the dead-man switches; without their folder, no Ray is started below.
    commands = ["cloud-init status --wait || true"]
    registry = (spec.image or "").split("/")[0]
    if ".dkr.ecr." in registry:
        password = f"aws ecr get-login-password --region {spec.region}"
        commands.append(f"{password} | docker login --username AWS --password-stdin {registry}")
    return commands


def _install(spec: FleetSpec, stack: Stack, *locks: str) -> list[str]:
    """Commands that install what batchscope needs, each file with its hash; each job brings batchscope itself."""
    lines = [f'export PATH="{_VENV}/bin:$PATH"', "export RAY_AUTH_MODE=token"]
    return [
        "sudo apt-get -o DPkg::Lock::Timeout=300 install -y python3-venv rsync || "
        "(sudo apt-get update && sudo apt-get -o DPkg::Lock::Timeout=300 install -y python3-venv rsync)",
        f"test -x {_VENV}/bin/python || python3 -m venv {_VENV}",
        _wheels("install", spec, stack, *locks),
        *(f"grep -qxF '{line}' ~/.bashrc || echo '{line}' >> ~/.bashrc" for line in lines),
    ]


def _wheels(action: str, spec: FleetSpec, stack: Stack, *locks: str) -> str:
    """A command about what is installed, which comes from the fleet's bucket or from the index."""
    files = " ".join(f"$HOME/batchscope-provider/{lock}" for lock in locks)
    python = f"env PYTHONPATH=$HOME/batchscope-provider {_VENV}/bin/python -m cluster.fleet.node.wheels"
    return f"{python} {action} {stack.bucket} {spec.region} {files}"


def _fill(spec: FleetSpec, stack: Stack) -> str:
    """The command by which the head fills the bucket with what workers install, beside its Ray and after it.

    Nobody waits for it: a worker that comes before it is done asks the index.
    """
    fill = _wheels("fill", spec, stack, BASE_LOCK, CUDA_LOCK)
    return f"nohup nice -n 19 {fill} > ~/batchscope-wheels.log 2>&1 < /dev/null &"


def _exports(spec: FleetSpec) -> str:
    """What Ray, and all that it starts, has in its environment.

    An image's own CUDA libraries are left out: LD_LIBRARY_PATH comes before the RUNPATH by which TensorFlow finds those
    that pip installed with it (tensorflow#60750). With the region S3 is reached without a redirect, and past the NAT.
    Where a machine has a disk of its own, articles are cached there, not on the network's.
    """
    known = {**_ENVIRONMENT, "AWS_DEFAULT_REGION": spec.region}
    if spec.requester_pays:
        known[PAYER] = "requester"
    exports = "unset LD_LIBRARY_PATH; export " + " ".join(f"{name}={value}" for name, value in known.items())
    own = f"sudo install -d -o $(id -un) {FAST_DISK}/batchscope && export BATCHSCOPE_CACHE={FAST_DISK}/batchscope"
    return f"{exports}; test ! -d {FAST_DISK} || {{ {own}; }}"


def _start_head(spec: FleetSpec) -> list[str]:
    return [
        "ray stop",
        # For the service that checks whether a study is alive; only root and this user may read the token.
        f"install -m 600 {TOKEN_ON_NODES} {userdata.KEPT}/token",
        # The autoscaler imports our provider; a job brings its own batchscope, whole, which Python prefers.
        f"ulimit -n 65536; {_exports(spec)}; PYTHONPATH=$HOME/batchscope-provider ray start --head "
        f"--port={userdata.GCS_PORT} --object-manager-port=8076 "
        f"--autoscaling-config=~/ray_bootstrap_config.yaml --dashboard-host=127.0.0.1 "
        f"--dashboard-port={userdata.DASHBOARD_PORT}",
    ]


def _start_worker(spec: FleetSpec, stack: Stack) -> list[str]:
    address = f"$RAY_HEAD_IP:{userdata.GCS_PORT}"
    ready = f"PYTHONPATH=$HOME/batchscope-provider python3 -m cluster.fleet.node.ready {stack.bucket} {spec.region}"
    return [
        "ray stop",
        # A machine without its cards ends before it can be given work. In a container there is no systemd to ask.
        f"ulimit -n 65536; {_exports(spec)}; {'' if spec.image else f'{ready} && '}"
        f"ray start --address={address} --object-manager-port=8076",
        f"echo {address} > {userdata.KEPT}/head",
    ]

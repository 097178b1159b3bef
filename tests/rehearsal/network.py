"""The network of the pretend region: a bridge with an address, and a cable from it to each machine's namespace."""

import subprocess

# The stack's own network (cluster/fleet/cloudformation.yaml); beside its subnets, so that no machine has this address.
ADDRESS = "10.71.255.254"
PREFIX = 16
_BRIDGE, _HARDWARE = "region", "02:00:00:00:00:01"


def run(*command: str) -> None:
    """Run a command to its end; what it says becomes the error if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def make() -> None:
    """Set up the bridge in this network namespace, which must be one of our own."""
    run("ip", "link", "set", "lo", "up")
    # Without one of its own, a bridge takes the least address of its cables: with a machine that comes or goes it can
    # become another, and for up to a minute the other machines send to the old one.
    run("ip", "link", "add", _BRIDGE, "address", _HARDWARE, "type", "bridge")
    run("ip", "addr", "add", f"{ADDRESS}/{PREFIX}", "dev", _BRIDGE)
    run("ip", "link", "set", _BRIDGE, "up")


def connect(cable: str, process: int) -> None:
    """A cable from the bridge to `eth0` in the network namespace of a process."""
    run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process))
    run("ip", "link", "set", cable, "master", _BRIDGE, "up")


def set_link(cable: str, state: str) -> None:
    """Pull the cable (`down`) or put it back (`up`)."""
    run("ip", "link", "set", cable, state)


def configure(address: str) -> None:
    """Give this machine its address, and the metadata service its own, which every machine has for itself."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "addr", "add", f"{address}/{PREFIX}", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    # It leads no further than the bridge; by it programs find out which of their addresses others see.
    run("ip", "route", "add", "default", "via", ADDRESS)
    run("ip", "addr", "add", "169.254.169.254/32", "dev", "lo")

"""`python -m tests.faults [--faults 200] [--seed N] [--only NAME]`: faults struck at studies in real processes.

Each study is run again until it ends, and then its answers must be those of an undisturbed one, to the last digit. As
root, everything happens in a mount namespace of this process, with small disks that fill up; elsewhere those faults are
named and left out.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

from tests.faults.campaign import TURNS, Campaign
from tests.faults.catalogue import FOLDER, dozen, drawn, every_fault
from tests.faults.table import table
from tests.support.runs import ROOT

INSIDE = "BATCHSCOPE_FAULTS_INSIDE"
NAMESPACE = ("unshare", "--mount", "--propagation", "private")


def main() -> int:
    """Strike, and print what came of it; 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=200, help="how many strike")
    parser.add_argument("--seed", type=int, default=0, help="which, and in which order")
    parser.add_argument("--only", metavar="NAME", help="only those with this in their name")
    parser.add_argument("--dozen", action="store_true", help="those that CI strikes, in one study")
    parser.add_argument("--list", action="store_true", help="print the names of all, and strike none")
    given = parser.parse_args()
    if given.list:
        print(*(fault.name for fault in every_fault()), sep="\n")
        return 0
    disks = INSIDE in os.environ
    if not disks and _may_have_namespace():
        environment = {**os.environ, INSIDE: "1", "PYTHONPATH": str(ROOT)}
        python = [sys.executable, "-m", "tests.faults", *sys.argv[1:]]
        os.execvpe(NAMESPACE[0], [*NAMESPACE, *python], environment)
    has = ["disks"] if disks else []
    chosen, left_out = drawn(given.seed, given.faults, has=has, only=given.only)
    turns = TURNS
    if given.dozen:
        chosen, left_out, turns = dozen(has=has), [], (("one worker", FOLDER),)
    for fault in left_out:
        print(f"left out, for want of {fault.needs}: {fault.name}")
    # An end by a signal, too, leaves nothing behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    began = time.monotonic()
    campaign = Campaign(chosen, disks=disks, say=lambda text: print(text, flush=True))
    campaign.play(turns)
    minutes = (time.monotonic() - began) / 60
    print(f"\n{table(campaign.fired)}\n")
    print(
        f"seed {given.seed}: {len(campaign.fired)} faults struck in {campaign.runs} runs and {campaign.drivers} "
        f"drivers, {len(campaign.wrong)} wrong, {minutes:.0f} minutes"
    )
    for line in campaign.wrong:
        print(f"WRONG {line}")
    return bool(campaign.wrong or not campaign.fired)


def _may_have_namespace() -> bool:
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, timeout=30, check=False).returncode == 0
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())

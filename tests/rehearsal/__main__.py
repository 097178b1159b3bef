"""`python -m tests.rehearsal [--short] [SCENE ...]`: the real commands on pretend regions, two scenes at a time.

Everything happens in namespaces of a process for each region: its network has no way out, and with it go all machines,
their disks and every process.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.rehearsal import needs, play, scenes, side_by_side
from tests.rehearsal.disk import HERE

INSIDE = "BATCHSCOPE_REHEARSAL_INSIDE"


def main() -> int:
    """Enter the namespaces, or say what is missing for that; then play the scenes and print how they went."""
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal", description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(scenes.ALL)}; all of them if none")
    parser.add_argument("--short", action="store_true", help=f"the one scene that CI plays, {scenes.SHORT}")
    parser.add_argument("--times", type=int, default=1, help="how often each scene is played")
    parser.add_argument("--keep", type=Path, help="a folder for what commands and machines said")
    parser.add_argument("--one-region", action="store_true", help="one scene after another")
    given = parser.parse_args()
    if unknown := [name for name in given.scenes if name not in scenes.ALL]:
        parser.error(f"no scene {unknown[0]}: choose of {', '.join(scenes.ALL)}")
    if missing := needs.missing():
        print(f"no rehearsal on this machine, it lacks {', '.join(missing)}", file=sys.stderr)
        return 3
    names = [scenes.SHORT] if given.short else given.scenes or list(scenes.ALL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if INSIDE not in os.environ and len(names) > 1 and not given.one_region:
        return side_by_side.play(names, times=given.times, keep=given.keep)
    if INSIDE not in os.environ:
        return _enter()
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-", dir="/mnt"))
    try:
        return play.play(names, times=given.times, folder=folder, keep=given.keep)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _enter() -> int:
    """Become the first process of new namespaces, in which /mnt is a file system in memory."""
    command = 'mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && exec "$@"'
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    python = [sys.executable, "-m", "tests.rehearsal", *sys.argv[1:]]
    environment = {**os.environ, INSIDE: "1", "PYTHONPATH": str(HERE)}
    os.execvpe("unshare", [*unshare, "sh", "-c", command, "sh", *python], environment)


if __name__ == "__main__":
    sys.exit(main())

"""Two regions at once: scenes mostly wait, so two rehearsals beside each other take little longer than one."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

REGIONS = 2
HEAD = "| scene | outcome | s | |\n|---|---|---:|---|"


def play(names: Sequence[str], *, times: int, keep: Path | None) -> int:
    """Deal the scenes to processes of their own, print their rows as they come, and return 0 if all went well."""
    print(HEAD, flush=True)
    options = ["--times", str(times), *(["--keep", str(keep)] if keep else [])]
    regions = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.rehearsal", "--one-region", *names[first::REGIONS], *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in range(min(REGIONS, len(names)))
    ]
    readers = [Thread(target=_tell, args=(region,)) for region in regions]
    try:
        for reader in readers:
            reader.start()
        ended = [region.wait() for region in regions]
        return int(any(ended))
    finally:
        for region in regions:
            # The first process of its namespaces: with it all others of its region end.
            region.kill()
        for reader in readers:
            reader.join()


def _tell(region: "subprocess.Popen[str]") -> None:
    assert region.stdout is not None
    for line in region.stdout:
        if line.rstrip("\n") not in HEAD.splitlines():
            print(line, end="", flush=True)

"""The logs of workers on this machine: what a worker process wrote to stderr while it had a trial.

Ray keeps a file for each worker process in the folder of its session. A worker marks there which trial it takes. The
folder of a local study's Ray goes when its run ends; that of a cluster stays.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cluster.text.plain import plain_lines

MARK = "batchscope trial "
# The end of a file that is searched; a worker writes a few lines for each trial.
BYTES_READ = 2**22
_SESSIONS = ("batchscope-ray-*/session_*/logs", "ray/session_*/logs")


def mark(trial_id: str) -> str:
    """The line that a worker writes to its stderr before it takes a trial."""
    return f"{MARK}{trial_id}\n"


def pieces(trial_id: str, root: str | None = None) -> Iterator[tuple[str, str]]:
    """Each file that has something on the trial, with the newest part about it; `root` has the folders of Ray."""
    for folder in dict.fromkeys((root or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), root or "/tmp")):
        for pattern in _SESSIONS:
            for file in sorted(Path(folder).glob(f"{pattern}/worker-*.err")):
                # The folder of the newest session is there under two names.
                if "session_latest" not in file.parts and (piece := _piece(file, trial_id)):
                    yield str(file), piece


def _piece(file: Path, trial_id: str) -> str:
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - BYTES_READ))
            text = opened.read().decode(errors="replace")
    except OSError:
        return ""
    _, found, after = text.rpartition(mark(trial_id))
    return plain_lines(after.split(f"\n{MARK}", 1)[0].rstrip()) if found else ""

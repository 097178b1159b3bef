"""The service of every machine: it looks every few seconds, and ends the machine when a rule requires it.

systemd runs it as root: `python3 -m cluster.fleet.node.watch SETTINGS.json`. A file keeps what was seen, so a restart
of the service does not start the waiting anew.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.fleet.node import decide, probe

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_FOR_A_COMMAND = 60.0


@dataclass(frozen=True)
class Settings:
    """The settings from the user data; `kept` is a folder that is emptied when the machine starts.

    Its file `head` holds the head's `host:port` once Ray has been started here.
    """

    role: str
    kept: str
    dashboard: str
    token_file: str
    limits: decide.Limits
    drain: list[str]
    end_workers: list[str]
    power_off: list[str]


def settings_of(text: str) -> Settings:
    """The settings in the JSON `text`."""
    raw = json.loads(text)
    return Settings(**{**raw, "limits": decide.Limits(**raw["limits"])})


class Watch:
    """One machine's watch; `look` is one round of it."""

    def __init__(self, settings: Settings, *, metadata: str = probe.METADATA) -> None:
        self._settings = settings
        self._metadata = metadata
        self._file = Path(settings.kept) / "seen.json"
        self._drained = False
        self.seen = self._read()

    def look(self, now: float) -> str | None:
        """Look around at `now`, in seconds since the machine started; return why it ends, or None."""
        if self._settings.role == "head":
            self._look_for_studies(now)
            why = decide.head_ends(self._settings.limits, self.seen, now)
        else:
            self._look_for_head(now)
            why = decide.worker_ends(self._settings.limits, self.seen, now)
        if why:
            self._end(why)
        return why

    def _look_for_studies(self, now: float) -> None:
        if probe.study_lives(self._settings.dashboard, _text(self._settings.token_file)):
            self._keep(decide.Observed(study=now))

    def _look_for_head(self, now: float) -> None:
        address = _text(f"{self._settings.kept}/head")
        if address and probe.head_answers(address):
            self._keep(decide.Observed(head=now))
        taken_at = None if self._drained else probe.interruption(self._metadata)
        if taken_at is not None and address:
            self._drained = True
            seconds = decide.seconds_until_interruption(taken_at, time.time())
            _run([*self._settings.drain, "--address", address, "--deadline-remaining-seconds", str(seconds)])

    def _end(self, why: str) -> None:
        _say(f"batchscope: this machine ends itself: {why}")
        if self._settings.role == "head":
            # If this fails, the workers end by themselves once they have lost the head for long enough.
            _run(self._settings.end_workers)
        _run(self._settings.power_off)

    def _keep(self, seen: decide.Observed) -> None:
        self.seen = seen
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(asdict(seen)))
        new.replace(self._file)

    def _read(self) -> decide.Observed:
        try:
            return decide.Observed(**json.loads(self._file.read_text()))
        except (OSError, ValueError, TypeError):
            return decide.Observed()


def _text(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except OSError:
        return ""


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, timeout=SECONDS_FOR_A_COMMAND, check=False)
        _say(f"batchscope: {command[0]} ended with {done.returncode}")
    except (OSError, subprocess.TimeoutExpired) as problem:
        _say(f"batchscope: {command[0]} failed: {problem}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main(file: str) -> None:
    """Watch for as long as the machine lives."""
    watch = Watch(settings_of(Path(file).read_text()))
    while True:
        watch.look(float(Path("/proc/uptime").read_text().split()[0]))
        time.sleep(SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    main(sys.argv[1])

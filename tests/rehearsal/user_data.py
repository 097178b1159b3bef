"""What cloud-init does with a fleet's user data: it writes the files and runs the commands, once."""

import os
import subprocess
from pathlib import Path

import yaml

from tests.rehearsal.boot import CONTROL


def main() -> None:
    """Carry out the user data of this machine."""
    text = (CONTROL / "user-data").read_text()
    head, _, body = text.partition("\n")
    assert head == "#cloud-config", head
    document = yaml.safe_load(body)
    for file in document.get("write_files", []):
        path = Path(file["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])
    for command in document.get("runcmd", []):
        subprocess.run(command, check=True, env={"PATH": os.environ["PATH"]}, timeout=60)
    (CONTROL / "ready").touch()


if __name__ == "__main__":
    main()

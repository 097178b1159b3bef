"""A pretend machine's disk: this machine's own files under a layer that takes the changes, with a user and programs.

Python and its packages are those of the rehearsal: what a real machine would install is there already.
"""

import os
import shutil
import stat
import sys
from pathlib import Path

from tests.rehearsal.network import run

HERE = Path(__file__).parents[2]

PROGRAMS = Path(__file__).parent / "image"
# What `ray up` connects as, on Ubuntu's images; of a number that nobody has here.
USER, UID = "ubuntu", 10777
# `pip install --require-hashes --requirement FILE ...`: what pip would download is here, for this Python; the libraries
# of cards are not.
_PIP = """#!{python}
import re, sys
from importlib import metadata
for name in sys.argv[sys.argv.index("--requirement") + 1 :: 2]:
    if not name.endswith("cuda.lock"):
        for package in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", open(name).read()):
            metadata.version(package)
"""


def mount(folder: Path) -> Path:
    """Mount the disk at `folder/root`, with what belongs to a running system; in a mount namespace of our own."""
    root, changes = folder / "root", folder / "changes"
    run("mount", "--make-rprivate", "/")
    _layer(Path("/"), root, changes / "disk")
    run("mount", "-t", "tmpfs", "tmpfs", str(root / "tmp"))
    (root / "tmp").chmod(0o1777)
    run("mount", "-t", "tmpfs", "tmpfs", str(root / "run"))
    run("mount", "-t", "proc", "proc", str(root / "proc"))
    run("mount", "--rbind", "/sys", str(root / "sys"))
    run("mount", "--rbind", "/dev", str(root / "dev"))
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "dev/shm"))
    run("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=0620,gid=5", "devpts", str(root / "dev/pts"))
    run("mount", "--bind", str(root / "dev/pts/ptmx"), str(root / "dev/ptmx"))
    # Each may lie on another file system, in a folder that the machine has for itself, or in another of them.
    for number, below in enumerate(sorted({Path(sys.base_prefix), Path(sys.prefix), HERE})):
        place = root / below.relative_to("/")
        _layer(below, place, changes / f"layer-{number}")
        _open_way(root, place)
    (root / "run/rehearsal/services").mkdir(parents=True)
    run("mount", "--bind", str(folder / "control"), str(root / "run/rehearsal"))
    return root


def furnish(root: Path, *, server: str, public_key: str) -> None:
    """The user with its key, the programs of the image, and the address under which AWS is found."""
    home = root / "home" / USER
    shutil.copytree(root / "etc/skel", home)
    with (root / "etc/passwd").open("a") as passwd:
        passwd.write(f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash\n")
    with (root / "etc/group").open("a") as group:
        group.write(f"{USER}:x:{UID}:\n")
    with (root / "etc/shadow").open("a") as shadow:
        shadow.write(f"{USER}:*:19000:0:99999:7:::\n")
    (root / "etc/sudoers.d").mkdir(exist_ok=True)
    (root / f"etc/sudoers.d/{USER}").write_text(f"{USER} ALL=(ALL) NOPASSWD:ALL\n")
    (root / f"etc/sudoers.d/{USER}").chmod(0o440)
    for place in (home, root / "root"):
        (place / ".aws").mkdir(exist_ok=True)
        (place / ".aws/config").write_text(f"[default]\nendpoint_url = {server}\n")
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh/authorized_keys").write_text(public_key + "\n")
    (home / "batchscope").symlink_to(sys.prefix)
    for program in PROGRAMS.iterdir():
        text = program.read_text().replace("/usr/bin/env python3", sys.executable)
        for place in ("usr/local/bin", "usr/bin") if program.name in ("systemctl", "shutdown") else ("usr/local/bin",):
            (root / place / program.name).unlink(missing_ok=True)
            (root / place / program.name).write_text(text)
            (root / place / program.name).chmod(0o755)
    _without_batchscope(root / sys.prefix.lstrip("/"))
    for path in (home, *home.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)


def _layer(below: Path, place: Path, changes: Path) -> None:
    """Mount a folder at a place where it can be changed, without a change to it."""
    for made in (place, changes / "upper", changes / "work"):
        made.mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={below},upperdir={changes / 'upper'},workdir={changes / 'work'}"
    run("mount", "-t", "overlay", "overlay", "-o", layers, str(place))


def _open_way(root: Path, place: Path) -> None:
    """Let the user reach a folder that lies in one of root's."""
    while place != root:
        place.chmod(stat.S_IMODE(place.stat().st_mode) | 0o055)
        place = place.parent


def _without_batchscope(prefix: Path) -> None:
    """A machine has batchscope from each job, not installed; and pip has no index."""
    [packages] = prefix.glob("lib/python*/site-packages")
    for name in ("__editable__*batchscope*", "batchscope-*.dist-info"):
        for found in packages.glob(name):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    (prefix / "bin/pip").unlink()
    (prefix / "bin/pip").write_text(_PIP.format(python=sys.executable))
    (prefix / "bin/pip").chmod(0o755)

"""What a rehearsal needs of the machine it is on: root, namespaces of its own, and the programs of a fleet's day."""

import os
import shutil
import subprocess

PROGRAMS = ("unshare", "ip", "mount", "ssh", "ssh-keygen", "sshd", "sudo", "rsync")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> list[str]:
    """What is missing here, in words."""
    lacks = [f"the program {name}" for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if os.geteuid() != 0:
        return ["root", *lacks]
    if not lacks:
        namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "true"]
        if subprocess.run(namespaces, capture_output=True, timeout=30, check=False).returncode:
            lacks.append("namespaces (unshare is refused)")
    return lacks

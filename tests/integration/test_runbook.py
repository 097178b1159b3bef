"""The runbook's local variant, as it stands in deploy/RUNBOOK.md: from nothing to results and back to nothing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import free_ports

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]
ROOT = Path(__file__).parents[2]
MARK = "<!-- local variant: executed by tests/integration/test_runbook.py -->"
# What a person would do who gives up half-way.
TRAP = "trap 'kill $(cat runbook/head.pid) 2>/dev/null || true' EXIT"


def script() -> str:
    """The marked blocks of the runbook, one after the other."""
    blocks = re.findall(
        re.escape(MARK) + r"\n```bash\n(.*?)```", (ROOT / "deploy" / "RUNBOOK.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 4
    return "\n".join([TRAP, *blocks])


@pytest.mark.timeout(900)
def test_the_local_variant_does_what_the_runbook_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    port, dashboard_port = free_ports(2)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(port),
        "DASHBOARD_PORT": str(dashboard_port),
    }
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script()],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        stdout, stderr = process.communicate(timeout=800)
    assert process.returncode == 0, (stdout[-2000:], stderr[-3000:])
    assert "SUCCEEDED" in stdout
    assert re.search(r"(\d+) of \1 trials ended: \1 completed", stdout)
    assert not (tmp_path / "runbook").exists()

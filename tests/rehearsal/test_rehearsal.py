"""The short form of the rehearsal: up, a study, offers refused, a machine lost, and back to nothing."""

import os
import subprocess
import sys

import pytest

from tests.rehearsal import needs
from tests.rehearsal.disk import HERE

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.timeout(900)
def test_a_fleets_day_on_pretended_machines() -> None:
    if missing := needs.missing():
        pytest.skip(f"no rehearsal on this machine, it lacks {', '.join(missing)}")
    command = [sys.executable, "-m", "tests.rehearsal", "--short"]
    # Each machine has workers of its own priority, as real ones have.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=800, check=False)
    # Printed, because an assertion cuts long texts.
    print(f"{done.stdout}\n{done.stderr[-12000:]}")
    assert done.returncode == 0

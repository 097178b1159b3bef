"""A dozen faults struck at one study in real processes, of the hundreds that `python -m tests.faults` strikes."""

import os
import subprocess
import sys

import pytest

from tests.support.runs import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.timeout(1500)
def test_a_dozen_faults_change_no_number_and_leave_nothing_behind() -> None:
    command = [sys.executable, "-m", "tests.faults", "--dozen"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1400, check=False)
    # Printed, because an assertion cuts long texts.
    print(f"{done.stdout}\n{done.stderr[-4000:]}")
    assert done.returncode == 0
